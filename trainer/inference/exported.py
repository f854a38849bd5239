"""Exports: a network's weights with all that is needed to use them, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline import DataError
from pipeline.formats.strict_json import dumps
from pipeline.targets import TargetSpec
from pipeline.text import parsed
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.inference.predictor import Predictor
from trainer.inference.preprocessing import Preprocessing
from trainer.inference.tasks import task_of
from trainer.models.channels import with_channels
from trainer.models.weights import read_safetensors, write_safetensors
from trainer.parallel import World
from trainer.recipe import from_table

MODEL_FILE = "model.safetensors"
KEY = "budgetrain"
"""Entry of an export's metadata that holds its description as JSON."""
SCHEMA = 1


def described(predictor: Predictor, model: Mapping[str, Any]) -> str:
    """Return a network's description as JSON: its model, targets, preprocessing, and where it comes from.

    Parameters
    ----------
    model
        Its part as in run.toml, with all options.
    """
    height, width = predictor.preprocessing.size
    spec = predictor.task.spec
    return dumps(
        {
            "schema": SCHEMA,
            "model": dict(model),
            "target": spec.kind,
            "classes": list(spec.classes),
            "columns": spec.columns,
            "input": {"height": height, "width": width, "channels": len(predictor.preprocessing.mean)},
            "preprocessing": predictor.preprocessing.table(),
            "about": dict(predictor.about),
        }
    )


def save_exported(path: Path, predictor: Predictor, model: Mapping[str, Any]) -> None:
    """Write a network as a .safetensors file that `open_exported` reads.

    The weights have the network's own names, as timm or torchvision have them.

    Raises
    ------
    MissingExtraError
        Without the package safetensors.
    DataError
        When the file can't be written.
    """
    metadata = {"format": "pt", KEY: described(predictor, model)}
    write_safetensors(path, predictor.network.state_dict(), metadata)


def open_exported(path: Path, device: str = "auto") -> Predictor:
    """Return the network of a .safetensors file that ``trainer export`` wrote.

    Raises
    ------
    RunError
        When it is another file, or its weights are another network's.
    MissingExtraError
        Without the package safetensors.
    """
    there = choose_device(device, World())
    state, metadata = read_safetensors(path, there)
    try:
        table = parsed(json.loads, metadata[KEY])
        known, model = table["schema"], table["model"]
        preprocessing, about = table["preprocessing"], table["about"]
        spec = TargetSpec(table["target"], tuple(table["classes"]), table["columns"])
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} must be an export of `trainer export`, which holds classes and preprocessing beside the "
            f"weights; it lacks them ({type(error).__name__}: {error}): for bare weights see --init-from"
        ) from None
    if known != SCHEMA:
        raise RunError(
            f"{path} must be an export of schema {SCHEMA}; got {known}: install a newer budgetrain"
        )
    part = from_table({"model": model}, where=str(path)).model
    # The caller's random numbers stay as they are: these weights are replaced at once.
    with torch.random.fork_rng(devices=[]):
        network = with_channels(part.build(classes=spec.outputs), len(preprocessing["mean"])).to(there)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:160]
        raise RunError(f"{path} must hold the weights of its model {model['name']}; {fault}") from None
    return Predictor(network.eval(), task_of(spec), Preprocessing.from_table(preprocessing), about=about)
