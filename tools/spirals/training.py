"""Networks of fully connected layers trained on few labelled points, with six ways to normalize."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.spirals.points import LABELLED, Points
from trainer.methods.unsupervised_norm import convert, given_statistics, updating_statistics

VARIANTS = {
    "bn": "of the labelled points, with the gradient through them",
    "ubn": "of labelled and unlabelled points, as constants",
    "ubn_joint": "of labelled and unlabelled points, with the gradient through them",
    "ubn_unlabelled": "of the unlabelled points alone, as constants",
    "bn_recalibrated": "as bn; for the test recomputed on all points after training",
    "bn_all_labels": "as bn, and all 450 points have their labels: an upper bound",
}
"""Points that mean and variance in training are taken of, by variant."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a network is trained.

    Attributes
    ----------
    width
        Of the four hidden layers.
    steps, lr
        Steps of Adam, whose rate falls from ``lr`` to 0 as a cosine.
    further
        Unlabelled points per step, drawn for each.
    noise
        Of the points: see `tools.spirals.points.spirals`.
    """

    width: int = 64
    steps: int = 1000
    lr: float = 0.01
    further: int = 200
    noise: float = 0.0


def network(width: int) -> nn.Sequential:
    """Return four layers of Linear, batch normalization and ReLU, and a linear one to two logits."""
    layers: list[nn.Module] = []
    for inputs in (2, width, width, width):
        layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def train(variant: str, points: Points, seed: int, training: Training) -> nn.Sequential:
    """Return a trained network of one of `VARIANTS`, in evaluation mode.

    Weights and batches depend on the seed alone, so that variants are paired.
    """
    torch.manual_seed(seed)
    model = convert(network(training.width))
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), training.lr)
    x, labels = points.labelled, points.labels
    if variant == "bn_all_labels":
        every, every_label = torch.cat([x, points.unlabelled]), torch.cat([labels, points.hidden])
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.lr * (1 + math.cos(math.pi * step / training.steps)) / 2
        chosen = torch.randperm(len(points.unlabelled), generator=draws)[: training.further]
        if variant == "bn_all_labels":
            drawn = torch.randperm(len(every), generator=draws)[: 2 * LABELLED]
            x, labels = every[drawn], every_label[drawn]
        outputs = _outputs(variant, model, x, points.unlabelled[chosen])
        optimizer.zero_grad()
        F.cross_entropy(outputs, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    if variant == "bn_recalibrated":
        recalibrate(model, torch.cat([points.labelled, points.unlabelled]))
    return model.eval()


def _outputs(variant: str, model: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    if variant.startswith("bn"):
        return model(x)  # type: ignore[no-any-return]
    if variant == "ubn_joint":
        return model(torch.cat([x, y]))[: len(x)]  # type: ignore[no-any-return]
    with updating_statistics(model):
        model(y if variant == "ubn_unlabelled" else torch.cat([x, y]))
    with given_statistics(model):
        return model(x)  # type: ignore[no-any-return]


def recalibrate(model: nn.Module, points: Tensor) -> None:
    """Replace the moving averages by the statistics of a pass over ``points``."""
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    model.train()
    with updating_statistics(model):
        model(points)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@torch.no_grad()
def accuracy(model: nn.Module, points: Tensor, labels: Tensor) -> float:
    """Return the fraction of points whose spiral is predicted, by the moving averages."""
    return float((model(points).argmax(dim=1) == labels).float().mean())


@torch.no_grad()
def probability(model: nn.Module, points: Tensor) -> Tensor:
    """Return the probability of the second spiral, float32[n]."""
    return torch.softmax(model(points), dim=1)[:, 1]


def recorded(model: nn.Sequential, points: Tensor) -> nn.Sequential:
    """Return a copy of a network, in training mode, that has recorded the statistics of ``points``.

    Passes within `given_statistics` are normalized by them.
    """
    made = copy.deepcopy(model).train()
    with updating_statistics(made):
        made(points)
    return made


@torch.no_grad()
def features(model: nn.Sequential, points: Tensor) -> list[Tensor]:
    """Return each normalization's outputs for ``points``, float32[n, width], by recorded statistics."""
    found, values = [], points
    with given_statistics(model):
        for layer in model:
            values = layer(values)
            if isinstance(layer, nn.BatchNorm1d):
                found.append(values)
    return found
