"""Runs a compiled kernel over spans of an index range, on a configurable number of threads.

Kernels release the GIL, so Python threads suffice. Numba's own ``prange`` isn't used: its fallback threading
layer aborts the process when two threads enter it at once, as a sampler's thread and a loader's kernels
would, and parallel kernels take several times longer to compile.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kernel = Callable[..., Any]

SPAN = 16_384
"""Ranges shorter than this aren't worth a second thread."""

_KEPT = 1 << 26
"""Bytes up to which a thread keeps its working memory between draws."""

_MOST = 32
"""Most threads that a draw uses: beyond this, memory bandwidth is the limit."""

_threads = 1
_pool: ThreadPoolExecutor | None = None
_kept = threading.local()


def _forget_pool() -> None:
    global _pool
    _pool = None  # a forked child inherits the object but none of its threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def use_threads(count: int) -> None:
    """Set the number of threads for draws in this process, at most 32; results don't depend on it.

    The caller knows how many cores each of its processes may use; until this is called, draws run in the
    calling thread only.
    """
    global _threads, _pool
    count = max(1, min(count, _MOST))
    if count != _threads:
        _threads, _pool = count, None


def in_use() -> int:
    """Return the number of threads that draws in this process use, the caller's included."""
    return _threads


def spans(size: int, unit: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(size)`` into one span per thread, at multiples of ``unit``.

    Kernels must give the same result however the range is cut.
    """
    count = max(1, min(in_use(), size // SPAN))
    cuts = [min(size, -(-size * i // count // unit) * unit) for i in range(count)] + [size]
    return [(a, b) for a, b in itertools.pairwise(cuts) if b > a] or [(0, size)]


def working_memory(purpose: str, size: int, dtype: np.dtype[Any] | type) -> NDArray[Any]:
    """Return an uninitialized array of ``size``, valid until this thread's next call for the same purpose.

    Up to 64 MiB are kept from call to call: mapping fresh pages takes longer than filling them.
    """
    length = size * np.dtype(dtype).itemsize
    memory: NDArray[np.uint8] | None = getattr(_kept, purpose, None)
    if memory is None or len(memory) < length:
        memory = np.empty(length, np.uint8)
        if length <= _KEPT:
            setattr(_kept, purpose, memory)
    return memory[:length].view(dtype)


def _call(kernel: Kernel, start: int, stop: int, slot: int, args: tuple[Any, ...]) -> Any:
    # Only matters for interpreted kernels (NUMBA_DISABLE_JIT): hashes overflow by design.
    with np.errstate(all="ignore"):
        return kernel(start, stop, slot, *args)


def run(kernel: Kernel, cuts: list[tuple[int, int]], *args: Any) -> list[Any]:
    """Call ``kernel(start, stop, slot, *args)`` for every span and return the results by slot."""
    global _pool
    if len(cuts) == 1:
        return [_call(kernel, *cuts[0], 0, args)]
    pool = _pool
    if pool is None:
        pool = _pool = ThreadPoolExecutor(max_workers=_threads, thread_name_prefix="samplers-draw")
    others = [pool.submit(_call, kernel, *cut, slot, args) for slot, cut in enumerate(cuts) if slot]
    first = _call(kernel, *cuts[0], 0, args)
    return [first] + [other.result() for other in others]
