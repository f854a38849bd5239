"""Muon against a slow reference that follows Jordan (2024), in double precision."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.resnet import ResNet8
from trainer.models.torchvision import TorchvisionModel
from trainer.optimizers.adam import AdamW
from trainer.optimizers.muon import Muon, hidden, orthogonalized
from trainer.optimizers.sgd import SGD

RATES = (0.1, 0.05, 0.2)


def reference(start: Tensor, gradients: list[Tensor], nesterov: bool, decay: float) -> Tensor:
    """Jordan's muon.py of one weight, without his bfloat16."""
    w, v = start.clone(), torch.zeros_like(start)
    for lr, g in zip(RATES, gradients, strict=True):
        v = 0.9 * v + 0.1 * g
        x = (0.1 * g + 0.9 * v if nesterov else v).reshape(len(start), -1)
        rows, columns = x.shape
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
        w = (1 - lr * decay) * w - lr * max(1, rows / columns) ** 0.5 * x.view_as(w)
    return w


class Net(nn.Module):
    """Convolutions, two of one shape and a tall one, and matrices between a first and a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(*(nn.Conv2d(4, 4, 3, bias=False) for _ in range(2)))
        self.point = nn.Conv2d(4, 9, 1)
        self.wide, self.tall, self.head = nn.Linear(8, 4), nn.Linear(4, 8), nn.Linear(8, 2)
        self.position = nn.Parameter(torch.randn(3, 4))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("rest", ["adamw", "sgd"])
def test_steps_are_those_of_the_reference(nesterov: bool, rest: Literal["adamw", "sgd"]) -> None:
    net = Net().double()
    part = Muon(momentum=0.9, nesterov=nesterov, weight_decay=0.1, rest=rest, rest_lr=0.01)
    optimizer = part.build(tuple(net.named_parameters()))
    alone = Net().double()
    alone.load_state_dict(net.state_dict())
    others = (
        AdamW(lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
        if rest == "adamw"
        else SGD(lr=0.01, nesterov=True, weight_decay=0.1)
    )
    apart = others.build(tuple(alone.named_parameters()))
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    made: dict[str, list[Tensor]] = {name: [] for name in start}
    for lr in RATES:
        for (name, value), same in zip(net.named_parameters(), alone.parameters(), strict=True):
            value.grad = torch.randn(value.shape, dtype=torch.float64)
            same.grad = value.grad.clone()
            made[name].append(value.grad.clone())
        for group in (*optimizer.param_groups, *apart.param_groups):
            group["lr"] = lr
        optimizer.step()
        apart.step()
    inner = {"blocks.0.weight", "blocks.1.weight", "point.weight", "wide.weight", "tall.weight"}
    for (name, value), same in zip(net.named_parameters(), alone.parameters(), strict=True):
        expected = reference(start[name], made[name], nesterov, 0.1) if name in inner else same.detach()
        torch.testing.assert_close(value.detach(), expected, rtol=1e-11, atol=1e-11)


def record(start: Tensor, gradients: list[Tensor]) -> Tensor:
    """airbench94_muon's update of one kernel, without bfloat16: momentum .6, three iterations."""
    w, v = start.clone(), torch.zeros_like(start)
    for lr, g in zip(RATES, gradients, strict=True):
        v = 0.6 * v + g
        x = (g + 0.6 * v).reshape(len(start), -1)
        w = w * (len(w) ** 0.5 / w.norm())
        x = x / (x.norm() + 1e-7)
        for _ in range(3):
            x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
        w = w - lr * x.view_as(w)
    return w


def test_steps_of_filters_are_those_of_the_record() -> None:
    """The rest by Nesterov's SGD, with rates of their own and decay that doesn't depend on them."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 2, bias=False)
    ).double()
    part = Muon(
        momentum=0.6,
        iterations=3,
        matrices="filters",
        normalized=True,
        rest="sgd",
        rest_lr=0.5,
        rest_momentum=0.85,
        norm_bias_lr=0.2,
        decay="all",
        decoupled=True,
        weight_decay=0.01,
    )
    optimizer = part.build(tuple(net.named_parameters()))
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    made: dict[str, list[Tensor]] = {name: [] for name in start}
    for lr in RATES:
        for name, value in net.named_parameters():
            value.grad = torch.randn(value.shape, dtype=torch.float64)
            made[name].append(value.grad.clone())
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 if "iterations" in group else group["initial_lr"])
        optimizer.step()
    torch.testing.assert_close(
        dict(net.named_parameters())["0.weight"].detach(), record(start["0.weight"], made["0.weight"])
    )
    for name, base in (("1.weight", 0.2), ("1.bias", 0.2), ("2.weight", 0.5)):
        w, v = start[name].clone(), torch.zeros_like(start[name])
        for lr, g in zip(RATES, made[name], strict=True):
            pull = g + 0.01 / base * w
            v = 0.85 * v + pull
            w = w - lr * base * (pull + 0.85 * v)
        torch.testing.assert_close(dict(net.named_parameters())[name].detach(), w)


def test_filters_alone_leave_nothing_for_the_rest() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    with pytest.raises(RunError, match="needs parameters beside those that it makes orthogonal"):
        Muon(matrices="filters").build(tuple(net.named_parameters()))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
def test_steps_of_a_matrix_are_those_of_torch() -> None:
    """To bfloat16, in which torch computes."""
    net = nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(3)))
    optimizer = Muon(weight_decay=0.01).build(tuple(net.named_parameters()))
    weight = net[1].weight
    other = nn.Parameter(weight.detach().clone())  # type: ignore[operator]
    theirs = torch.optim.Muon([other], lr=0.02, weight_decay=0.01, momentum=0.95)
    before = weight.detach().clone()  # type: ignore[operator]
    for _ in range(3):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        other.grad = weight.grad.clone()  # type: ignore[operator]
        optimizer.step()
        theirs.step()
    moved, expected = weight.detach() - before, other.detach() - before  # type: ignore[operator]
    assert (moved - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 4, 9), (2, 9, 4), (1, 1, 5)])
def test_orthogonalized_matrices_keep_their_singular_vectors(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ orthogonalized(matrices, 10) @ vh.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert (values > 0.6).all()
    assert (values < 1.3).all()
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-9
    assert orthogonalized(torch.zeros(1, 3, 2), 5).eq(0).all()


def test_hidden_are_matrices_and_kernels_between_the_first_and_the_last() -> None:
    net = ResNet8(width=4).build(10)
    kernels = {f"{name}.weight" for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    assert hidden(tuple(net.named_parameters())) == kernels - {"stem.0.weight"}
    with torch.device("meta"):
        transformer = TorchvisionModel(arch="vit_b_16").build(10)
    found = hidden(tuple(transformer.named_parameters()))
    assert len(found) == 12 * 4
    assert all(name.startswith("encoder.layers.") for name in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "optimizer.momentum must be at least 0 and below 1; got 1"),
        ({"rest_lr": 0.0}, "optimizer.rest_lr must be above 0 and finite; got 0"),
        ({"norm_bias_lr": -1.0}, "optimizer.norm_bias_lr must be above 0 and finite; got -1"),
        (
            {"rest_momentum": 0.0},
            "optimizer.rest_momentum must be above 0 and below 1, as it is Nesterov's; got 0",
        ),
        (
            {"decoupled": True},
            "optimizer.decoupled is for rest sgd: adamw's weight decay is decoupled as it is",
        ),
        ({"iterations": 0}, "optimizer.iterations must be at least 1 and below 100; got 0"),
    ],
)
def test_refuses_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(RunError, match=f"^{message}$"):
        Muon(**options)  # type: ignore[arg-type]
