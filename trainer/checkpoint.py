"""Checkpoints: all that the rest of a run depends on, in one file of tensors and plain values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.formats.whole import write_whole
from trainer.errors import RunError

SCHEMA = 3


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` whole or not at all; NumPy arrays in it are stored as tensors."""
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **_stored(state)}, buffer)
    write_whole(path, buffer.getvalue())


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is executed.

    Raises
    ------
    RunError
        When the file can't be read, or another version wrote it.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch reports a damaged file by half a dozen types
        raise RunError(
            f"checkpoint {path} can't be read ({type(error).__name__}); remove it to begin the run anew"
        ) from error
    if state.pop("schema", None) != SCHEMA:
        raise RunError(f"checkpoint {path} was written by another version; remove it to begin the run anew")
    restored: dict[str, Any] = _restored(state)
    return restored


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
            return value[_ARRAY].cpu().numpy()
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_restored(item) for item in value)
    return value
