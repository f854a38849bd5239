"""Checkpoint files: all state that the rest of a run depends on, as tensors and plain values.

A file is a line of magic with the SHA-256 of all that follows, and what ``torch.save`` writes. The last two
of a run are kept, so that one which a disk has damaged costs the work since the one before it, and not the
run.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from pipeline.formats.whole import PartialFile, unwritable
from trainer.errors import RunError

SCHEMA = 7
_MAGIC = b"budgetrain checkpoint, sha256 "
_DIGEST = 64


class DamagedError(RunError):
    """A checkpoint whose bytes aren't those that were written."""


@dataclass(frozen=True, slots=True)
class Found:
    """A run's newest undamaged checkpoint.

    Attributes
    ----------
    state
        The saved state.
    path
        Its file.
    digest
        SHA-256 of it, in hexadecimal.
    damaged
        The fault of a newer checkpoint that was skipped; None if there was none.
    """

    state: dict[str, Any]
    path: Path
    digest: str
    damaged: str | None = None


def previous_path(path: Path) -> Path:
    """Return the path of the checkpoint before the one at ``path``."""
    return path.with_name(f"previous{path.suffix}")


def save(path: Path, state: dict[str, Any], *, previous: bool = True) -> None:
    """Write ``state`` whole or not at all.

    NumPy arrays in it are stored as tensors.

    Parameters
    ----------
    previous
        Keep the checkpoint that was there as the previous one.

    Raises
    ------
    DataError
        When it can't be written; existing checkpoints are kept.
    """
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **_stored(state)}, buffer)
    content = buffer.getbuffer()
    with PartialFile(path) as partial:
        try:
            partial.file.write(_MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
            partial.file.write(content)
            partial.sync()
            # Killed between the two renames, the run goes on from the previous one.
            if previous and path.is_file():
                path.replace(previous_path(path))
            partial.publish()
        except OSError as error:
            raise unwritable(path, error) from None


def newest(path: Path) -> Found | None:
    """Return the checkpoint at ``path``, or the previous one if that is damaged; None if there is none.

    Its tensors are on the host: those that belong on a device are few, and each part moves its own.

    Raises
    ------
    RunError
        When both are damaged, one can't be read, or another version wrote it.
    """
    damaged: list[str] = []
    for place in (path, previous_path(path)):
        # A link that leads nowhere is a lost checkpoint, which is to be told.
        if not os.path.lexists(place):
            continue
        try:
            state, digest = _read(place)
        except DamagedError as error:
            damaged.append(str(error))
            continue
        return Found(state, place, digest, *damaged)
    if damaged:
        raise DamagedError(f"{'; '.join(damaged)}: remove {path.parent} to start the run again")
    return None


def set_aside(path: Path) -> None:
    """Move a damaged checkpoint away, so that the next one doesn't replace the good previous one.

    Raises
    ------
    DataError
        When it can't be moved.
    """
    aside = path.with_name(f"damaged{path.suffix}")
    try:
        path.replace(aside)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(aside, error) from None


def is_checkpoint(path: Path) -> bool:
    """Return whether a readable file begins as a run's checkpoint does, of whatever version."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def load(path: Path) -> dict[str, Any]:
    """Return one checkpoint's state, tensors on the host; no code in the file is executed.

    Raises
    ------
    RunError
        When the file can't be read, isn't as it was written, or another version wrote it.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Any], str]:
    if not path.is_file():
        # Opening a FIFO would block.
        raise DamagedError(f"checkpoint {path} must be a regular file, and isn't")
    try:
        content = path.read_bytes()
    except OSError as error:
        # It may be undamaged: too many files are open, say, or a server is unreachable.
        raise RunError(
            f"checkpoint {path} must be readable; it can't be read ({error.strerror or error}): give the "
            "same command again once it can, or move it away to go on without it"
        ) from None
    head, _, body = content.partition(b"\n") if content.startswith(_MAGIC) else (b"", b"", content)
    other = RunError(
        f"checkpoint {path} was written by another version; remove {path.parent} to start the run again, or "
        "go on with that version"
    )
    if not head and content.startswith(b"PK"):
        # Earlier versions wrote torch's archive alone.
        raise other
    digest = hashlib.sha256(body).hexdigest()
    if head[len(_MAGIC) :] != digest.encode():
        raise DamagedError(f"checkpoint {path} isn't as it was written: its digest differs")
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (EOFError, LookupError, RuntimeError, TypeError, ValueError, UnpicklingError) as error:
        # Whole by its digest: memory is short, or torch is another version.
        fault = " ".join(str(error).split())[:160]
        raise RunError(
            f"checkpoint {path} is whole and can't be loaded ({type(error).__name__}: {fault}): give the "
            f"same command again where it can, or remove {path.parent} to start the run again"
        ) from error
    if not isinstance(state, dict) or state.pop("schema", None) != SCHEMA:
        raise other
    restored: dict[str, Any] = _restored(state)
    return restored, digest


_ARRAY = "__array__"


def _stored(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        # np.ascontiguousarray would give a 0-dimensional array a dimension.
        return {_ARRAY: torch.from_numpy(np.array(value, order="C"))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _stored(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_stored(item) for item in value)
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            return value[_ARRAY].numpy()
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_restored(item) for item in value)
    return value
