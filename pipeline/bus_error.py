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
from numpy.typing import NDArray

from pipeline.errors import one_line
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
        # another handler, and whether a thread is writing its line.
        self._root = np.zeros(6, np.int64)
        self._root[2:4] = self._unknown.ctypes.data, self._unknown.size
        self._show_table()
        libc = ctypes.CDLL(None, use_errno=True)
        self._compiled = self._compile(libc)
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

    def _compile(self, libc: ctypes.CDLL) -> Any:
        write, end, restore, pause = libc.write, libc._exit, libc.sigaction, libc.pause
        write.restype, write.argtypes = (
            ctypes.c_ssize_t,
            [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t],
        )
        end.restype, end.argtypes = None, [ctypes.c_int]
        restore.restype, restore.argtypes = (
            ctypes.c_int,
            [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p],
        )
        pause.restype, pause.argtypes = ctypes.c_int, []
        root_address, before = self._root.ctypes.data, ctypes.addressof(self._before)
        number, width, output, exit_status = int(signal.SIGBUS), _ROW, _OUTPUT, EXIT_STATUS
        types: Any = numba.types

        @numba.cfunc(types.void(types.int32, types.CPointer(types.int64), types.voidptr))
        def handle(_: int, info: Any, __: Any) -> None:
            root = words_at(root_address)
            while root[5] != 0 and root[4] == 0:
                pause()  # another thread came first, and is about to end the process
            root[5] = 1
            address = info[2]  # siginfo_t.si_addr
            rows = words_at(root[0])
            line, length = root[2], root[3]
            for row in range(root[1]):
                if rows[row * width] <= address < rows[row * width + 1]:
                    line, length = rows[row * width + 2], rows[row * width + 3]
            write(output, line, length)
            if root[4] != 0:
                # The failed instruction is retried on return, and fails again: then the previous handler
                # runs.
                restore(number, before, 0)
            else:
                end(exit_status)

        return handle


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
