"""SIGBUS handler: if a mapped file can't be read, prints one line that names it and ends the process.

Reading a mapped file beyond its end, because another process truncated it, or after a failure of its disk or
mount, raises SIGBUS in the reading thread, in the middle of a C library or kernel. A Python handler can't
help: it would run only after the failed instruction, which fails again. So the handler is compiled by numba.
It takes no locks and uses no Python objects; it looks the address up in a table of mapped files, writes the
line prepared for that file, and ends the process.

A previously installed handler, such as faulthandler's, is called after the line is written. Linux on 64-bit
machines only; elsewhere the system's default message is shown.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import weakref
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.errors import one_line
from pipeline.kernels.kept import callback
from pipeline.kernels.memory import words_at

EXIT_STATUS = 4
"""Exit status after a bus error."""

_ROW = 4  # words of a table's row: first address, end, address of the line, its length
_OUTPUT = 2  # the descriptor of the standard error
_FIRST_ROWS = 64


class _Action(ctypes.Structure):
    """``struct sigaction`` of glibc and musl."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint8 * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_SA_SIGINFO, _SA_NODEFER = 4, 0x40000000


class _Handler:
    """The compiled handler and its table of mapped files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[int, NDArray[np.uint8]] = {}
        self._free: list[int] = []
        self._removed: deque[int] = deque()
        # Outgrown tables are kept, since a handler may be reading one.
        self._tables = [np.zeros((_FIRST_ROWS, _ROW), np.int64)]
        self._before = _Action()
        self._unknown = _line("a file or memory that was mapped")
        # The handler's input: table, number of rows, line for other addresses, its length, whether there was
        # another handler, whether a thread is writing its line, and the other handler's action.
        self._root = np.zeros(7, np.int64)
        self._root[2:4] = self._unknown.ctypes.data, self._unknown.size
        self._root[6] = ctypes.addressof(self._before)
        self._show_table()
        libc = ctypes.CDLL(None, use_errno=True)
        self._compiled = callback(_handle, _types.void(_types.int32, _address, _address))
        self._compiled.ctypes(-1, self._root.ctypes.data, 0)
        # Not blocked while the handler runs, so that an error within it ends the process.
        action = _Action(self._compiled.address, flags=_SA_SIGINFO | _SA_NODEFER)
        status = libc.sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(self._before))
        assert status == 0
        self._root[4] = self._before.handler is not None

    def add(self, start: int, size: int, line: NDArray[np.uint8]) -> int:
        """Register an address range and the line to write for it; return its row number."""
        with self._lock:
            while self._removed:
                gone = self._removed.popleft()
                # Again: the row may have been copied while a larger table was created.
                self._tables[-1][gone, :2] = 0
                self._free.append(gone)
            row = self._free.pop() if self._free else len(self._lines)
            if row == len(self._tables[-1]):
                self._tables.append(np.concatenate([self._tables[-1], np.zeros_like(self._tables[-1])]))
                self._show_table()
            self._lines[row] = line
            # The start address last: until then the row matches no address.
            self._tables[-1][row, 1:] = start + size, line.ctypes.data, line.size
            self._tables[-1][row, 0] = start
            return row

    def remove(self, row: int) -> None:
        """Unregister an address range.

        Without the lock: the garbage collector may call this in the middle of `add`, in the same thread.
        """
        self._tables[-1][row, 1] = 0
        self._tables[-1][row, 0] = 0
        self._removed.append(row)

    def _show_table(self) -> None:
        # The address first: the new table is no shorter than the old one.
        self._root[0] = self._tables[-1].ctypes.data
        self._root[1] = len(self._tables[-1])


_types: Any = numba.types
_address = _types.intp
# Found by name when the code is loaded: it is kept, and addresses are another process's.
_write = _types.ExternalFunction("write", _types.intp(_types.int32, _address, _types.intp))
_end = _types.ExternalFunction("_exit", _types.void(_types.int32))
_restore = _types.ExternalFunction("sigaction", _types.int32(_types.int32, _address, _address))
_pause = _types.ExternalFunction("pause", _types.int32())


def _variable(_: Any) -> Any:
    """Return a pointer to the variable beside the handler's code that holds the address of its input."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        name, word = "bus_error_root", ir.IntType(64)
        if name not in builder.module.globals:
            place = ir.GlobalVariable(builder.module, word, name)
            place.initializer, place.linkage = ir.Constant(word, 0), "internal"
        return builder.module.globals[name]

    return _types.CPointer(_types.int64)(), generate


_root_place: Any = intrinsic(_variable)


def _handle(number: int, info: int, _: int) -> None:
    """Handle a signal; with a negative number, take ``info`` as the address of the input of later calls."""
    place: Any = _root_place()
    if number < 0:
        place[0] = info
        return
    root = words_at(place[0])
    while root[5] != 0 and root[4] == 0:
        _pause()  # another thread came first, and is about to end the process
    root[5] = 1
    address = words_at(info)[2]  # siginfo_t.si_addr
    rows = words_at(root[0])
    line, length = root[2], root[3]
    for row in range(root[1]):
        if rows[row * _ROW] <= address < rows[row * _ROW + 1]:
            line, length = rows[row * _ROW + 2], rows[row * _ROW + 3]
    _write(_OUTPUT, line, length)
    if root[4] != 0:
        # The failed instruction is retried on return, and fails again: then the previous handler runs.
        _restore(number, root[6], 0)
    else:
        _end(EXIT_STATUS)


@cache
def _handler() -> _Handler | None:
    """Install the handler, once per process; None on systems with a different ``sigaction``."""
    if not sys.platform.startswith("linux") or sys.maxsize < 1 << 32:
        return None
    return _Handler()


def guard(data: NDArray[Any], path: Path) -> None:
    """Report a bus error within ``data``, the mapped bytes of ``path``, in one line that names the file.

    The first call in a process installs the handler. The file is unregistered when ``data`` is deleted.
    """
    handler = _handler()
    if handler is None or data.nbytes == 0:
        return
    row = handler.add(data.ctypes.data, data.nbytes, _line(os.fspath(path)))
    weakref.finalize(data, handler.remove, row)


def _line(what: str) -> NDArray[np.uint8]:
    # A progress bar may occupy the line and have hidden the cursor, which nothing else would show again.
    begin, end = ("\n", "\x1b[?25h") if os.isatty(_OUTPUT) else ("", "")
    text = (
        f"{begin}trainer: {one_line(what)} can't be read any further (bus error): it was truncated while "
        f"it was being read, or its disk failed; download or convert it again, and restart{end}\n"
    )
    return np.frombuffer(text.encode(), np.uint8)
