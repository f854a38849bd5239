"""Runs of a method without classes, with a teacher and a buffer: what only tests have, trained for real."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from self_distillation import SelfDistillation, SelfDistillationMethod

from trainer import BudgetrainError, RunFolder, checkpoint, open_session
from trainer.budget.flops import forward_flops
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.methods import METHODS, Supervised
from trainer.models.resnet import ResNet8
from trainer.session import Session
from trainer.weights import fingerprint

Recipe = Callable[..., Run]
Train = Callable[..., Session]
SMALL = {
    "model": {"name": "resnet8", "width": 4},
    "epochs": 1,
    "log_every": 2,
    "method": "self_distillation",
    "evaluator": "knn",
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "self_distillation", SelfDistillation)


def test_a_method_without_classes_trains_to_the_end_of_its_budget(recipe: Recipe, train_run: Train) -> None:
    session = train_run(recipe(**SMALL, sampler="loss_rank"))
    method = session.method
    assert isinstance(method, SelfDistillationMethod)
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    assert ledger["finished"]
    assert ledger["trained"] == 640
    assert all(np.isfinite(line["loss"]) for line in session.folder.read("steps.jsonl"))
    # Its teacher and its buffer have moved, and the optimizer knows only what is trained.
    fresh = SelfDistillation().build(ResNet8(width=4).build(classes=10))
    assert method.center.abs().sum() > 0
    names = {id(value): name for name, value in method.named_parameters()}
    optimized = {names[id(p)] for group in session.step.optimizer.param_groups for p in group["params"]}
    assert optimized == {name for name, value in fresh.named_parameters() if value.requires_grad}
    assert not any("teacher" in name or "head" in name for name in optimized)
    assert ledger["parameters"] == sum(value.numel() for value in fresh.parameters() if value.requires_grad)
    # Two views forward and backward, and forward through the teacher; the classifier has no part in them.
    network = forward_flops(fresh.encoder.to("meta"), 28) - 2 * 16 * 10
    assert ledger["step_flops"] == 2 * (3 + 1) * (network + 2 * 16 * 8)
    samples = pq.read_table(session.folder.path / "samples.parquet").to_pydict()
    assert np.isnan(samples["mean_probability"]).all()
    assert (np.isfinite(samples["last_loss"]) == (np.array(samples["times_seen"]) > 0)).all()


def test_a_stopped_run_goes_on_to_the_same_student_teacher_and_buffer(
    recipe: Recipe, train_run: Train, watch: Callable[..., Any]
) -> None:
    whole = train_run(recipe(**SMALL, name="whole"))
    run = recipe(**SMALL, name="stopped")
    with pytest.raises(InterruptedRunError):
        train_run(run, watch(stop_at=4))
    saved = checkpoint.load(run.runs_dir / "stopped" / "checkpoint" / "last.pt")
    assert saved["method"].keys() == whole.method.state_dict().keys()
    resumed = train_run(run, again := watch())
    assert again.resumed_at == 4
    theirs = whole.method.state_dict()
    for name, value in resumed.method.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert resumed.fingerprint() == whole.fingerprint()


def test_a_batch_holds_two_augmentations_of_each_sample(recipe: Recipe, tmp_path: Path) -> None:
    run = recipe(**SMALL, augment=["standard"])
    with open_session(run, RunFolder(tmp_path / "two", run)) as session:
        session.begin_round()
        (ready,) = session.ready(next(session.candidates()), select=False)
        first, second = ready.batch.views
        assert first.shape == second.shape == (64, 3, 28, 28)
        assert not torch.equal(first, second)
        # The first is that of a method which takes one.
        one = recipe(**{**SMALL, "method": "supervised"}, augment=["standard"])
    with open_session(one, RunFolder(tmp_path / "one", one)) as session:
        session.begin_round()
        (ready,) = session.ready(next(session.candidates()), select=False)
        assert len(ready.batch.views) == 1
        assert torch.equal(ready.batch.images, first)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            {"selection": "impon"},
            "impon chooses among samples of one view, and method self_distillation takes 2",
        ),
        ({"augment": ["standard", "mixup"]}, "views must not mix"),
    ],
)
def test_what_cannot_have_two_views_is_refused(
    recipe: Recipe, tmp_path: Path, entries: dict[str, Any], line: str
) -> None:
    run = recipe(**SMALL, **entries)
    with pytest.raises(BudgetrainError, match=line):
        open_session(run, RunFolder(tmp_path / "run", run))


@pytest.mark.parametrize(
    ("slot", "name"), [("sampler", "p_sgd"), ("sampler", "kakurenbo"), ("selection", "foms")]
)
def test_what_needs_classes_is_refused_in_one_line(recipe: Recipe, slot: str, name: str) -> None:
    with pytest.raises(RunError) as refused:
        recipe(**SMALL, **{slot: name})
    line = str(refused.value)
    assert line.count("\n") == 0
    assert f"{slot} {name} needs " in line
    assert "which method self_distillation doesn't offer: take --method supervised, focal" in line


def test_a_digest_is_that_of_the_encoder_where_a_method_owns_nothing_else() -> None:
    encoder = ResNet8(width=4).build(classes=10)
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().numpy().tobytes())
    assert fingerprint(Supervised().build(encoder)) == digest.hexdigest()
    other = SelfDistillation().build(encoder)
    before = fingerprint(other)
    with torch.no_grad():
        other.get_buffer("center")[0] += 1
    assert before != fingerprint(other)
