"""Norms of whole gradients, against a backward pass per sample, and the runs that draw by them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from classifiers import CLASSIFIERS
from torch import Tensor, nn

from trainer.config import Run
from trainer.methods import METHODS, Losses, Method
from trainer.models import MODELS
from trainer.scores import gradients
from trainer.scores.gradients import gradient_norms
from trainer.session import Session


class Exact(Method):
    """Cross-entropy in the outputs' own type."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        log_p = torch.log_softmax(outputs, dim=1).gather(1, labels)
        return Losses(-log_p, log_p.exp().detach(), log_p.detach(), log_p.detach() > 0)


def _one_by_one(method: Method, images: Tensor, labels: Tensor) -> list[float]:
    norms, model = [], method.encoder
    for image, label in zip(images, labels, strict=True):
        model.zero_grad()
        method.losses(model(image[None]), label[None, None]).loss.sum().backward()
        squares = [float((p.grad.double() ** 2).sum()) for p in model.parameters() if p.grad is not None]
        norms.append(sum(squares) ** 0.5)
    model.zero_grad()
    return norms


def _model(name: str, **options: object) -> nn.Module:
    torch.manual_seed(3)
    model = MODELS[name](**options).build(classes=5).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after some training
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_norms_are_those_of_a_backward_pass_per_sample(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("resnet8", width=4)
    size = sum(p.numel() for p in model.parameters())
    monkeypatch.setattr(gradients, "_MOST_NUMBERS", at_once * size)
    images, labels = torch.randn(7, 3, 16, 16, dtype=torch.float64), torch.arange(7) % 5
    norms, outputs = gradient_norms(Exact(model), images, labels)
    assert model.training
    assert not norms.requires_grad
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    np.testing.assert_allclose(norms, _one_by_one(Exact(model), images, labels), rtol=1e-10)
    torch.testing.assert_close(outputs, model(images).detach())


def test_frozen_parameters_count_for_nothing() -> None:
    model = _model("resnet8", width=4)
    images, labels = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.arange(4)
    whole, _ = gradient_norms(Exact(model), images, labels)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("conv" not in name)
    part, _ = gradient_norms(Exact(model), images, labels)
    model.eval()
    np.testing.assert_allclose(part, _one_by_one(Exact(model), images, labels), rtol=1e-10)
    assert (part < whole).all()


@pytest.mark.parametrize("method", CLASSIFIERS)
def test_every_methods_losses_can_be_differentiated_sample_by_sample(method: str) -> None:
    made = METHODS[method]().build(_model("resnet8", width=4).float().eval())
    images, labels = torch.randn(3, 3, 16, 16), torch.arange(3)
    norms, _ = gradient_norms(made, images, labels)
    np.testing.assert_allclose(norms, _one_by_one(made, images, labels), rtol=1e-4)


def test_a_run_draws_by_gradients_measured_once_and_pays_for_them(
    recipe: Callable[..., Run], train_run: Callable[..., Session]
) -> None:
    sampler = {"name": "sample_importance", "metric": "gradient", "epochs": 1, "gamma": 1.0}
    settings = {"model": {"name": "resnet8", "width": 4}, "epochs": 3, "budget": 1.0, "precision": "fp32"}
    run = recipe(sampler=sampler, counts="compute", **settings)
    session = train_run(run)
    assert session.ledger.gradients == 1280
    assert session.ledger.scored == 0
    assert session.account.spent == session.ledger.trained + 1280 <= session.account.total
    assert session.ledger.trained == 2 * 1280
    summary = session.folder.read("ledger.json")
    assert summary["gradients"] == 1280
    assert summary["flops"] == pytest.approx(summary["forward_flops"] * 3 * 3 * 1280)
