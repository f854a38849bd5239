"""FLOPs of forward passes."""

from __future__ import annotations

import pytest
import torch

from trainer.flops import forward_flops
from trainer.models import MODELS


def test_flops_are_those_of_the_layers() -> None:
    with torch.device("meta"):
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 5)
        )
        whole = MODELS["resnet18"]().build(classes=10)
    assert forward_flops(model, 8) == 2 * (8 * 8 * 8 * 27) + 2 * 5 * 512
    assert model.training
    # 0.56 billion multiplications and additions: the CIFAR ResNet-18 of the literature.
    assert forward_flops(whole, 32) / 2 == pytest.approx(0.555e9, rel=0.01)
