"""Backbones: a run's network without its classifier, under its own names or those of torchvision and timm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.formats.strict_json import dumps
from trainer import recipe
from trainer.errors import RunError
from trainer.inference.trained import about, checkpoint_of, describe, read_recipe
from trainer.models import check_encoder
from trainer.models.channels import with_channels
from trainer.models.resnet import ResNet
from trainer.models.weights import write_safetensors
from trainer.run_folder import RunFolder
from trainer.settings.fitting import outputs
from trainer.weights import evaluated

Layout = Literal["backbone", "torchvision", "timm"]
"""Names of a backbone's tensors: the network's own, or those of a library's ResNet."""

_OF_BLOCKS = {
    "norm": "bn",
    "shortcut": "downsample",
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A run's network up to its classifier.

    Attributes
    ----------
    model
        The model's part as in run.toml, with all options.
    described
        Its preprocessing and origin, as JSON.
    """

    network: nn.Module
    model: str
    described: str
    notes: tuple[str, ...] = ()

    def state(self, layout: Layout) -> dict[str, Tensor]:
        """Return the weights and statistics, without the classifier's, under a layout's names.

        Raises
        ------
        RunError
            When the network has no names in that layout.
        """
        classifier = {id(tensor) for tensor in check_encoder(self.network).get_classifier().parameters()}
        everything = dict(self.network.state_dict(keep_vars=True))
        own = {name: value.detach() for name, value in everything.items() if id(value) not in classifier}
        if layout == "backbone":
            return own
        if isinstance(self.network, ResNet):
            starts = _starts(self.network)
            return {_as_torchvision(name, starts): value for name, value in own.items()}
        # torchvision's and timm's ResNets have the same names.
        if "layer1.0.conv1.weight" in own or self.model == layout:
            return own
        raise RunError(
            f"layout {layout} is of ResNets, or of a network of that library; {self.model} is neither: take "
            "--formats backbone"
        )


def open_backbone(folder: Path, *, best: bool = False) -> Backbone:
    """Return the network of a run's checkpoint, on the CPU, whether it learned targets or not.

    Raises
    ------
    RunError
        When the folder holds no run or no such checkpoint.
    """
    run = read_recipe(folder)
    opened = RunFolder(folder, run)
    state, notes = checkpoint_of(opened, best=best)
    description = describe(opened, run)
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    with torch.random.fork_rng(devices=[]):
        network = run.model.build(classes=outputs(run.method, description.targets))
        network = with_channels(network, len(description.preprocessing.mean)).to(dtype)
    network.load_state_dict(evaluated(state))
    table = recipe.to_table(run)["model"]
    steps = int(state["ledger"]["steps"])
    described = dumps(
        {
            "model": table,
            "preprocessing": description.preprocessing.table(),
            "about": about(opened, run, description, steps),
        }
    )
    return Backbone(network.eval(), str(table["name"]), described, tuple(notes))


def write_backbone(path: Path, backbone: Backbone, layout: Layout) -> None:
    """Write a backbone as a .safetensors file.

    Raises
    ------
    RunError
        As `Backbone.state`.
    MissingExtraError
        Without the package safetensors.
    DataError
        When the file can't be written.
    """
    metadata = {"format": "pt", "budgetrain_backbone": backbone.described}
    write_safetensors(path, backbone.state(layout), metadata)


def _starts(network: ResNet) -> list[int]:
    """Return the index of each stage's first block: those with a stride, and the first of all."""
    strided = []
    for index, block in enumerate(network.blocks):
        convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
        if index == 0 or any(module.stride != (1, 1) for module in convolutions):
            strided.append(index)
    return strided


def _as_torchvision(name: str, starts: list[int]) -> str:
    """Return the name in torchvision's ResNet of a tensor of ours."""
    name = re.sub(r"^stem\.0\.", "conv1.", re.sub(r"^stem\.1\.", "bn1.", name))
    found = re.match(r"blocks\.(\d+)\.(.*)", name)
    if found is None:
        return name
    block, rest = int(found[1]), found[2]
    stage = sum(start <= block for start in starts)
    for ours, theirs in _OF_BLOCKS.items():
        rest = re.sub(rf"^{ours}", theirs, rest)
    return f"layer{stage}.{block - starts[stage - 1]}.{rest}"
