"""Weights in files: safetensors, with text beside the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipeline.errors import MissingExtraError
from pipeline.formats.whole import write_whole
from trainer.errors import RunError


def read_safetensors(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a .safetensors file by name, and the text entries of its header.

    Nothing in the file is executed.

    Raises
    ------
    RunError
        When it can't be read, or isn't such a file.
    MissingExtraError
        Without the package safetensors.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise _missing(error) from None
    if not path.is_file():
        raise RunError(f"weights must be a file; got {path}: name a .safetensors")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path} must be a whole .safetensors file; it can't be read ({' '.join(str(error).split())}): "
            "get or export it again"
        ) from None


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, and text entries, as a .safetensors file.

    Weights that share memory are written once per name.

    Raises
    ------
    MissingExtraError
        Without the package safetensors.
    DataError
        When the file can't be written.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise _missing(error) from None
    own = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    write_whole(path, save(own, dict(metadata)))


def _missing(error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        f".safetensors files need the package safetensors, which can't be imported ({error}): pip install "
        "'budgetrain[export]'"
    )
