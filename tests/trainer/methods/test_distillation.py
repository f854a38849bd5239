"""Distillation: its loss, its teacher, what it costs, and runs by it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from teachers import save_teacher
from torch import nn

from pipeline import Batch, Mixture
from trainer.budget.flops import forward_flops
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.methods.distillation import Distillation, DistillationMethod
from trainer.models.resnet import ResNet8
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]
N, CLASSES = 5, 4


class Table(nn.Module):
    """Returns logits that it holds, whatever the images."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(3 * torch.randn(N, CLASSES, generator=generator, dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


def batch(k: int) -> Batch:
    labels = torch.tensor([0, 3, 1, 1, 2])
    rng = np.random.default_rng(0)
    mixture = None
    if k > 1:
        shares = rng.dirichlet(np.ones(k), N).astype(np.float32)
        mixture = Mixture.of(np.stack([rng.permutation(N) for _ in range(k)], axis=1), shares)
    return Batch(np.arange(N), (torch.zeros(N, 3, 2, 2),), {"label": labels}, mixture)


@pytest.mark.parametrize("k", [1, 3])
def test_the_loss_is_hintons(k: int) -> None:
    part, student, teacher = Distillation(weight=0.7, temperature=2.5), Table(1), Table(2)
    given = batch(k)
    losses = DistillationMethod(student, part.loss, teacher, 0.7, 2.5)(given)
    labels = given.constituents(given.targets["label"])
    assert losses.loss.shape == (N, k)
    for i in range(N):
        z, t = (table.logits[i].detach() for table in (student, teacher))
        p, q = (torch.softmax(logits / 2.5, dim=0) for logits in (t, z))
        divergence = sum(float(p[c]) * math.log(float(p[c]) / float(q[c])) for c in range(CLASSES))
        for j in range(k):
            right = -math.log(float(torch.softmax(z, dim=0)[labels[i, j]]))
            expected = 0.3 * right + 0.7 * 2.5**2 * divergence
            assert float(losses.loss[i, j].detach()) == pytest.approx(expected, rel=1e-12)
    losses.loss.sum().backward()
    assert student.logits.grad is not None
    assert teacher.logits.grad is None


def test_a_teacher_has_its_runs_weights_and_stays_in_evaluation_mode(tmp_path: Path) -> None:
    folder, network = save_teacher(tmp_path / "run")
    encoder = ResNet8(width=4).build(10)
    method = Distillation(teacher=folder).build(encoder)
    assert Distillation(teacher=folder) == Distillation(teacher=folder / "checkpoint" / "last.pt")
    theirs = network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in method.teacher.state_dict().items())
    method.train()
    assert method.encoder.training
    assert not any(module.training for module in method.teacher.modules())
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 1.5}, "method.weight must be from 0 to 1; got 1.5"),
        ({"temperature": 0.0}, "method.temperature must be above 0 and finite; got 0"),
    ],
)
def test_refuses_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(RunError, match=message):
        Distillation(**options)  # type: ignore[arg-type]


def test_refuses_to_train_without_a_teacher_or_by_one_of_other_classes(tmp_path: Path) -> None:
    encoder = ResNet8(width=4).build(10)
    with pytest.raises(RunError, match=r"needs a teacher, .*; got none: add --method.teacher runs/NAME"):
        Distillation().build(encoder)
    folder, _ = save_teacher(tmp_path / "run", classes=7)
    with pytest.raises(RunError, match=r"must be a network of the 10 classes .*head.weight") as refused:
        Distillation(teacher=folder).build(encoder)
    assert "\n" not in str(refused.value)


def test_a_run_learns_from_a_runs_average_and_is_charged_for_its_passes(
    recipe: Recipe, train_run: Train, watch: Callable[..., Any]
) -> None:
    small: dict[str, Any] = {"model": {"name": "resnet8", "width": 4}, "epochs": 1, "budget": 0.25}
    first = train_run(recipe(**small, name="teacher", ema=0.9))
    assert first.average is not None
    entries = {
        **small,
        "model": {"name": "resnet8", "width": 2},
        "method": {"name": "distillation", "teacher": str(first.folder.path)},
        "augment": ["ricap"],
        "sampler": "p_sgd",
        "log_every": 1,
        "precision": "fp32",
        "threads": 1,
    }
    with pytest.raises(InterruptedRunError):
        train_run(recipe(**entries, name="stopped"), watch(stop_at=3))
    session = train_run(recipe(**entries, name="stopped"))
    whole = train_run(recipe(**entries, name="whole"))
    assert session.fingerprint() == whole.fingerprint()
    method = session.method
    assert isinstance(method, DistillationMethod)
    averaged = first.average.network.state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in method.teacher.state_dict().items())
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    teacher, student = (forward_flops(one.encoder.to("meta"), 28) for one in (first.method, method))
    assert ledger["step_flops"] == 3 * student + teacher
    # Its digest is one of the run's inputs.
    assert "method.teacher" in session.inputs


def test_selections_score_by_the_labels_alone(recipe: Recipe, train_run: Train, tmp_path: Path) -> None:
    folder, _ = save_teacher(tmp_path / "run")
    method = {"name": "distillation", "teacher": str(folder)}
    session = train_run(recipe(method=method, selection={"name": "foms", "start": 0.0}, epochs=1, threads=1))
    assert session.ledger.scored > session.ledger.trained > 0
    part, encoder, labels = Distillation(), Table(1), batch(1).targets["label"][:, None]
    scored = DistillationMethod(encoder, part.loss, Table(2), 0.9, 4.0).losses(encoder.logits, labels)
    log_p = torch.log_softmax(encoder.logits, dim=1)
    torch.testing.assert_close(scored.loss, -log_p.gather(1, labels))
