"""Memory shared with a sampler's process: blocks of feedback rows, and a buffer for the returned order.

A file mapped by both processes, in the system's shared-memory folder if that has room, else in the temporary
folder. It is unlinked as soon as both have opened it, so that nothing is left if either dies.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplers.protocol import Feedback, Order

BLOCKS = 8
ROWS = 65_536

_COLUMNS: dict[str, Any] = {
    "ids": np.int64,
    "loss": np.float32,
    "p_true": np.float32,
    "error": np.float32,
    "gradient": np.float32,
    "coefficient": np.float32,
    "trained": np.bool_,
}


@dataclass(frozen=True, slots=True)
class RowsNote:
    """Description of a block's content: row count, step and progress, and the optional columns present."""

    block: int
    count: int
    step: int
    progress: float | None
    has: tuple[str, ...]


def optional_columns(feedback: Feedback) -> tuple[str, ...]:
    """Return the names of the optional columns that are present."""
    return tuple(name for name in ("p_true", "error", "gradient") if getattr(feedback, name) is not None)


@dataclass(frozen=True, slots=True)
class OrderNote:
    """Description of the order buffer's content: the scalar fields of ``Order``, and the arrays' lengths."""

    round: int
    count: int
    weights: bool
    scored: int | None
    lr_scale: float


def _place(size: int) -> tuple[int, Path]:
    folders = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    problem: OSError | None = None
    for folder in folders:
        try:
            handle, name = tempfile.mkstemp(prefix=f"samplers-{os.getpid()}-", dir=folder)
        except OSError as error:
            problem = error
            continue
        try:
            # Reserved now: running out of memory later would kill the process (SIGBUS).
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
            else:
                os.truncate(handle, size)
        except BaseException as error:
            os.close(handle)
            Path(name).unlink()
            if not isinstance(error, OSError):
                raise
            problem = error
            continue
        return handle, Path(name)
    assert problem is not None
    raise problem


class Arena:
    """The mapped file, as arrays.

    Parameters
    ----------
    capacity
        Maximum number of ids in an order; longer orders don't go through the arena.
    scored
        Maximum number of ids to score in an order, likewise.
    path
        An arena made by the other process; None creates one.
    """

    def __init__(self, capacity: int, scored: int, path: Path | None = None) -> None:
        self.capacity, self.scored = capacity, scored
        parts = {
            f"{name}.{block}": (ROWS, kind) for block in range(BLOCKS) for name, kind in _COLUMNS.items()
        }
        parts |= {
            "order.ids": (capacity, np.int64),
            "order.score_ids": (scored, np.int64),
            "order.weights": (capacity, np.float32),
        }
        offsets, size = {}, 0
        for name, (count, kind) in parts.items():
            offsets[name] = size
            size += -(-count * np.dtype(kind).itemsize // 64) * 64
        if path is None:
            handle, self.path = _place(size)
        else:
            handle, self.path = os.open(path, os.O_RDWR), path
        try:
            self._map = mmap.mmap(handle, size)
        except BaseException:
            if path is None:
                self.forget_name()  # nothing else refers to it yet
            raise
        finally:
            os.close(handle)
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.frombuffer(self._map, kind, count, offsets[name])
            for name, (count, kind) in parts.items()
        }

    def write_rows(self, block: int, start: int, feedback: Feedback) -> RowsNote:
        """Copy rows into a block from row ``start`` on, and return a description of its content."""
        part = slice(start, start + len(feedback.ids))
        for name in _COLUMNS:
            values = getattr(feedback, name)
            self._arrays[f"{name}.{block}"][part] = 1 if values is None else values
        return RowsNote(block, part.stop, feedback.step, feedback.progress, optional_columns(feedback))

    def read_rows(self, note: RowsNote) -> Feedback:
        """Return a block's rows as feedback without copying; valid until the block is written again."""
        columns = {name: self._arrays[f"{name}.{note.block}"][: note.count] for name in _COLUMNS}
        return Feedback(
            note.step,
            columns["ids"],
            columns["loss"],
            columns["p_true"] if "p_true" in note.has else None,
            columns["trained"],
            columns["coefficient"],
            columns["error"] if "error" in note.has else None,
            note.progress,
            columns["gradient"] if "gradient" in note.has else None,
        )

    def fits(self, order: Order) -> bool:
        """Return whether the order's arrays fit into the order buffer."""
        scored = 0 if order.score_ids is None else len(order.score_ids)
        return len(order.ids) <= self.capacity and scored <= self.scored

    def write_order(self, order: Order) -> OrderNote:
        """Copy an order into the order buffer, and return its description."""
        count = len(order.ids)
        self._arrays["order.ids"][:count] = order.ids
        if order.weights is not None:
            self._arrays["order.weights"][:count] = order.weights
        scored = None if order.score_ids is None else len(order.score_ids)
        if order.score_ids is not None:
            self._arrays["order.score_ids"][:scored] = order.score_ids
        return OrderNote(order.round, count, order.weights is not None, scored, order.lr_scale)

    def read_order(self, note: OrderNote) -> Order:
        """Return a copy of the order in the order buffer."""
        return Order(
            note.round,
            self._arrays["order.ids"][: note.count].copy(),
            self._arrays["order.weights"][: note.count].copy() if note.weights else None,
            None if note.scored is None else self._arrays["order.score_ids"][: note.scored].copy(),
            note.lr_scale,
        )

    def forget_name(self) -> None:
        """Unlink the file; the memory remains until both processes have closed it."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the memory; no view of it may be used afterwards."""
        self.forget_name()
        self._arrays.clear()
        with contextlib.suppress(BufferError):  # a view still exists; the memory is released with it
            self._map.close()
