"""A teacher for distillation, as a run leaves one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from trainer import checkpoint
from trainer.methods import MethodConfig, Supervised
from trainer.methods.distillation import Distillation
from trainer.models.resnet import ResNet8


def save_teacher(folder: Path, classes: int = 10) -> tuple[Path, nn.Module]:
    """Write the checkpoint of a ResNet-8 into a run's folder, and return the folder and the network."""
    network = ResNet8(width=4).build(classes)
    state = {
        "settings": {"model": {"name": "resnet8", "width": 4}},
        "method": Supervised().build(network).state_dict(),
    }
    (folder / "checkpoint").mkdir(parents=True)
    checkpoint.save(folder / "checkpoint" / "last.pt", state)
    return folder, network


def with_teacher(config: MethodConfig, folder: Path) -> MethodConfig:
    """Return a method's config with a teacher where it needs one, which ``folder`` keeps."""
    if not isinstance(config, Distillation):
        return config
    path = folder / "teacher"
    return replace(config, teacher=path if path.exists() else save_teacher(path)[0])
