"""Runs of self-supervised methods, from a recipe to a report: trained for real, on a tiny set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.reporting.folder import read_run
from tools.reporting.page import page
from trainer import RunFolder, Session, open_session
from trainer.config import Run
from trainer.errors import RunError
from trainer.loop import train
from trainer.parallel import World
from trainer.recipe import from_table
from trainer.state import save
from trainer.watch import Silent

Make = Callable[..., Run]


@pytest.fixture
def make(tiny: Callable[..., Path], tmp_path: Path) -> Make:
    data = tiny()

    def made(**entries: Any) -> Run:
        table = {
            "data": str(data),
            "test_data": str(data.with_name("test.beton")),
            "runs_dir": str(tmp_path / "runs"),
            "model": {"name": "resnet8", "width": 4},
            "method": {"name": "simsiam", "out": 16, "bottleneck": 8},
            "evaluator": {"name": "knn", "k": 10},
            "augment": ["ssl"],
            "budget": 1.0,
            "evaluate_every": 8,
            "batch_size": 32,
            "epochs": 2,
            "log_every": 1,
            "device": "cpu",
            "threads": 1,
            **entries,
        }
        return from_table(table, where="test")

    return made


def trained(run: Run, name: str) -> Session:
    with (session := train(run, RunFolder(run.runs_dir / name, run), World(), Silent())):
        return session


def test_a_run_trains_without_labels_and_reports_its_features(make: Make) -> None:
    session = trained(
        make(
            resolution={"name": "super_progressive", "lowest": 0.5},
            schedule={"name": "fixed_one_cycle", "warmup": 0.5},
            round_length=0.25,
        ),
        "whole",
    )
    run, folder = session.run, session.folder.path
    assert [metric.name for metric in run.metrics] == ["knn_accuracy", "spread"]
    last = session.folder.read("evaluations.jsonl")[-1]["metrics"]
    assert last.keys() == {"knn_accuracy", "spread"}
    assert 0 < last["spread"] <= 1
    # The encoder has no classifier, and images come in two views at several resolutions.
    assert not any("head" in name for name in session.encoder.state_dict())
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["trained"] == 256
    assert set(ledger["trained_at"]) == {"4", "8"}
    assert all("accuracy" not in line for line in session.folder.read("steps.jsonl"))
    html = page([read_run(folder)])
    assert "kNN accuracy" in html
    assert "has collapsed" not in html


def test_a_collapsed_run_is_reported_as_one(make: Make) -> None:
    run = make(epochs=1)
    trained(run, "collapsed")
    path = run.runs_dir / "collapsed" / "evaluations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["metrics"] |= {"spread": 0.01, "knn_accuracy": 0.9}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = page([read_run(path.parent)])
    assert "This run has collapsed: spread of embeddings 0.0100, below 0.02." in html
    assert "Collapsed: kNN accuracy 90" in html


def steps(session: Session) -> Iterator[Any]:
    for current in session.rounds():
        yield from session.steps(current)
        session.finish(current)


@pytest.mark.parametrize(
    ("method", "stopped", "sampler"),
    [
        ({"name": "moco", "out": 8, "queue": 80}, 1, "scan"),
        # Samplers that need no more than the loss work.
        ({"name": "dino", "hidden": 16, "bottleneck": 8, "out": 24, "frozen": 0.7}, 6, "loss_rank"),
    ],
)
def test_a_run_resumes_to_equal_weights(
    make: Make, tmp_path: Path, method: dict[str, Any], stopped: int, sampler: str
) -> None:
    run = make(method=method, sampler=sampler)
    with open_session(run, RunFolder(tmp_path / "whole", run)) as whole:
        losses = [step.losses.loss for step in steps(whole)]
    with open_session(run, RunFolder(tmp_path / "part", run)) as part:
        for step in steps(part):
            if step.number == stopped:
                save(part)
                break
    with open_session(run, RunFolder(tmp_path / "part", run)) as rest:
        again = [step.losses.loss for step in steps(rest)]
    assert len(losses) == 8
    assert all(torch.equal(one, other) for one, other in zip(losses[stopped:], again, strict=True))
    assert rest.fingerprint() == whole.fingerprint()


def test_an_online_classifier_learns_from_features_alone(make: Make) -> None:
    """The encoder's weights are those of a run without, and accuracy is recorded beside kNN accuracy."""
    plain = trained(make(epochs=1), "plain")
    method = {"name": "simsiam", "out": 16, "bottleneck": 8, "linear": True}
    evaluator = [{"name": "knn", "k": 10}, "classification"]
    # Projector and predictor are drawn after the classifier: begin from the same weights.
    beside = make(method=method, evaluator=evaluator, epochs=1)
    with open_session(beside, RunFolder(beside.runs_dir / "beside", beside)) as session:
        with open_session(plain.run, RunFolder(plain.run.runs_dir / "again", plain.run)) as other:
            session.method.load_state_dict(other.method.state_dict(), strict=False)
        for _ in steps(session):
            pass
        found = session.evaluate()
    assert {"knn_accuracy", "accuracy", "spread"} <= found.keys()
    theirs = plain.method.state_dict()
    for name, value in session.method.state_dict().items():
        if "head" not in name:
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("slot", "name", "lack"),
    [
        ("sampler", "p_sgd", "p_true"),
        ("sampler", "class_importance", "p_true and labels"),
        ("sampler", "mcl", "labels"),
        ("selection", "foms", "scores"),
    ],
)
def test_what_needs_labels_is_refused_with_what_fits(make: Make, slot: str, name: str, lack: str) -> None:
    with pytest.raises(RunError) as refused:
        make(**{slot: name})
    line = str(refused.value)
    assert f"{slot} {name} needs {lack}, which method simsiam doesn't offer" in line
    assert f"--{slot} {'scan, uniform' if slot == 'sampler' else 'all'}" in line


def test_a_batch_of_one_is_refused(make: Make) -> None:
    with pytest.raises(RunError, match="batch_size must be at least 2 for batch normalization; got 1"):
        make(batch_size=1)
