"""Calls of libjpeg-turbo from kernels, at addresses that are passed: kernels that are kept hold none."""

from __future__ import annotations

import ctypes
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

_ADDRESS, _INT = ctypes.c_size_t, ctypes.c_int
_DECOMPRESS = ctypes.CFUNCTYPE(_INT, _ADDRESS, _ADDRESS, ctypes.c_ulong, _ADDRESS, *[_INT] * 5)
_MESSAGE = ctypes.CFUNCTYPE(_ADDRESS, _ADDRESS)

decompress: Any
"""Call ``tjDecompress2``, whose address is the first argument.

The result is not 0 after an error, and after a warning, such as for truncated data, when the rest of the
image has been filled with gray.
"""
message: Any
"""Call ``tjGetErrorStr2``, whose address is the first argument; the result is the address of the text."""

if getattr(numba.config, "DISABLE_JIT"):  # noqa: B009  (numba sets its options by name)

    def _interpreted_decompress(function: int, *arguments: Any) -> int:
        result: int = _DECOMPRESS(function)(*(int(argument) for argument in arguments))
        return result

    def _interpreted_message(function: int, decoder: int) -> int:
        result: int = _MESSAGE(function)(int(decoder))
        return result

    decompress, message = _interpreted_decompress, _interpreted_message
else:
    _types: Any = numba.types
    _int, _address = _types.int32, _types.intp

    def _call(builder: Any, result: Any, values: Any) -> Any:
        """Build the call of the function at the first of ``values`` with the others."""
        kind = ir.FunctionType(result, [value.type for value in values[1:]])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    @intrinsic
    def _decompress(
        _: Any,
        function: Any,
        decoder: Any,
        data: Any,
        size: Any,
        out: Any,
        width: Any,
        pitch: Any,
        height: Any,
        kind: Any,
        flags: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _call(builder, ir.IntType(32), values)

        return _int(*[_address] * 5, *[_int] * 5), generate

    @intrinsic
    def _message(_: Any, function: Any, decoder: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _call(builder, values[0].type, values)

        return _address(_address, _address), generate

    decompress, message = _decompress, _message
