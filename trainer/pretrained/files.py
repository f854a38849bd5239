"""Files of weights: run folders, their checkpoints, safetensors, and others' files of tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from trainer import checkpoint
from trainer.errors import RunError
from trainer.models.weights import read_safetensors
from trainer.weights import evaluated

State = Mapping[str, Tensor]

_ENTRIES = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Where others' checkpoints keep the weights, the first that is there."""


def weights_in(path: Path) -> Path:
    """Return the file whose weights `read` takes: of a run folder, the last checkpoint."""
    if not path.is_dir():
        return path
    places = (path / "checkpoint" / "last.pt", path / "model.safetensors")
    return next((place for place in places if place.is_file()), places[0])


def read(path: Path) -> State:
    """Return the network of a run's checkpoint as it is evaluated, or a file's tensors, by name.

    Nothing in the file is executed.

    Raises
    ------
    RunError
        When there is no such file, or it holds no tensors by name.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        fault = "is no regular file" if path.exists() else "does not exist"
        raise RunError(
            f"initial weights must be a run folder, or a .safetensors or .pt file; {path} {fault}: "
            "name another"
        )
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    if checkpoint.is_checkpoint(path):
        return evaluated(checkpoint.load(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(f"initial weights {path} can't be read ({error.strerror or error})") from None
    except (EOFError, LookupError, RuntimeError, TypeError, ValueError, UnpicklingError) as error:
        fault = " ".join(str(error).split())[:120]
        raise RunError(
            f"initial weights must be a file of tensors by name, as torch.save(model.state_dict(), ...) or "
            f"safetensors write it; {path} isn't ({fault})"
        ) from None
    return _tensors(content, path)


def _of_folder(path: Path) -> State:
    """Return the newest weights of a run, or those of a folder that was exported."""
    found = checkpoint.newest(path / "checkpoint" / "last.pt")
    if found is not None:
        return evaluated(found.state)
    exported = path / "model.safetensors"
    if exported.is_file():
        return read_safetensors(exported)[0]
    raise RunError(
        f"initial weights must be a run folder with a checkpoint, or a file; {path} holds neither "
        "checkpoint/last.pt nor model.safetensors: name another"
    )


def _tensors(content: Any, path: Path) -> State:
    for entry in _ENTRIES:
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
            break
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise RunError(
            f"initial weights must be tensors by name; {path} holds {type(content).__name__} without any: "
            "save model.state_dict()"
        )
    return tensors
