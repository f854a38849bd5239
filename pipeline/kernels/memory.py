"""Access to bytes at an address, for kernels that read samples from several mapped files."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.kernels.kept import kernel

SAMPLE = np.dtype(
    [("address", "<i8"), ("size", "<i8"), ("height", "<i4"), ("width", "<i4"), ("compressed", "?")],
    align=True,
)
"""A kernel's description of a sample, as one record so that it is fetched at once."""


def _pointer_to(kind: Any) -> Any:
    """Return a function that converts an address to a pointer to ``kind``, in compiled code only."""

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

        kinds: Any = numba.types.CPointer
        return kinds(kind)(address), generate

    return pointer


words_at: Any = _pointer_to(numba.types.int64)
"""Convert an address to a pointer to int64; for callbacks, which are compiled even with the JIT disabled."""

bytes_at: Callable[[int, int], NDArray[np.uint8]]
"""View ``size`` bytes at an address as uint8[size]; the caller must keep that memory alive."""

if getattr(numba.config, "DISABLE_JIT"):  # noqa: B009  (numba sets its options by name)

    def _view(address: int, size: int) -> NDArray[np.uint8]:
        return np.ctypeslib.as_array((ctypes.c_uint8 * int(size)).from_address(int(address)))

    bytes_at = _view
else:
    # Untyped, because numba interprets this as a view of the memory.
    _to_bytes: Any = _pointer_to(numba.types.uint8)
    _carray: Any = getattr(numba, "carray")  # noqa: B009

    @kernel
    def _carry(address: int, size: int) -> NDArray[np.uint8]:
        view: NDArray[np.uint8] = _carray(_to_bytes(address), (size,))
        return view

    bytes_at = _carry
