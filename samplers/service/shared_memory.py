"""Memory that a sampler and its process share: blocks of feedback rows, and the order on its way back.

A file mapped by both, in the system's shared-memory folder where that has room, else in the temporary one.
Its name is removed as soon as both have it open, so that nothing is left behind whoever dies first.
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
    "share": np.float32,
    "trained": np.bool_,
}


@dataclass(frozen=True, slots=True)
class RowsNote:
    """What is in a block: how many rows, up to where in the run, and which columns that rows may lack."""

    block: int
    count: int
    step: int
    progress: float | None
    has: tuple[str, ...]


def optional_columns(feedback: Feedback) -> tuple[str, ...]:
    """Names of the columns that are there, of those that feedback may lack."""
    return tuple(name for name in ("p_true", "error", "gradient") if getattr(feedback, name) is not None)


@dataclass(frozen=True, slots=True)
class OrderNote:
    """What is in the order's place: the fields of ``Order`` that are no arrays, and the arrays' lengths."""

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
            # Reserved now: a page that can't be had later would kill the process.
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
    """The mapped file, seen as arrays.

    Parameters
    ----------
    capacity
        Ids that an order may have; longer ones don't go through the arena.
    scored
        Ids to score that an order may have, likewise.
    path
        An arena made by the other side; None makes a new one.
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
                self.forget_name()  # nobody else knows of it yet
            raise
        finally:
            os.close(handle)
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.frombuffer(self._map, kind, count, offsets[name])
            for name, (count, kind) in parts.items()
        }

    def write_rows(self, block: int, start: int, feedback: Feedback) -> RowsNote:
        """Copy rows into a block from row ``start`` on, and say what it then holds."""
        part = slice(start, start + len(feedback.ids))
        for name in _COLUMNS:
            values = getattr(feedback, name)
            self._arrays[f"{name}.{block}"][part] = 1 if values is None else values
        return RowsNote(block, part.stop, feedback.step, feedback.progress, optional_columns(feedback))

    def read_rows(self, note: RowsNote) -> Feedback:
        """See a block as feedback; valid until the block is written again."""
        columns = {name: self._arrays[f"{name}.{note.block}"][: note.count] for name in _COLUMNS}
        return Feedback(
            note.step,
            columns["ids"],
            columns["loss"],
            columns["p_true"] if "p_true" in note.has else None,
            columns["trained"],
            columns["share"],
            columns["error"] if "error" in note.has else None,
            note.progress,
            columns["gradient"] if "gradient" in note.has else None,
        )

    def fits(self, order: Order) -> bool:
        """Whether the order's arrays fit into their place."""
        scored = 0 if order.score_ids is None else len(order.score_ids)
        return len(order.ids) <= self.capacity and scored <= self.scored

    def write_order(self, order: Order) -> OrderNote:
        """Copy an order in."""
        count = len(order.ids)
        self._arrays["order.ids"][:count] = order.ids
        if order.weights is not None:
            self._arrays["order.weights"][:count] = order.weights
        scored = None if order.score_ids is None else len(order.score_ids)
        if order.score_ids is not None:
            self._arrays["order.score_ids"][:scored] = order.score_ids
        return OrderNote(order.round, count, order.weights is not None, scored, order.lr_scale)

    def read_order(self, note: OrderNote) -> Order:
        """Copy an order out."""
        return Order(
            note.round,
            self._arrays["order.ids"][: note.count].copy(),
            self._arrays["order.weights"][: note.count].copy() if note.weights else None,
            None if note.scored is None else self._arrays["order.score_ids"][: note.scored].copy(),
            note.lr_scale,
        )

    def forget_name(self) -> None:
        """Remove the file's name; the memory lives until both sides have closed it."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the memory back; no view of it may be used any more."""
        self.forget_name()
        self._arrays.clear()
        with contextlib.suppress(BufferError):  # a view is still held somewhere; the memory goes with it
            self._map.close()
