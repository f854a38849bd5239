"""Rounds of a run: a batch at least, and what is odd about a sampler is told once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.cli import main
from trainer.config import Run
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]


@pytest.mark.parametrize(
    "settings",
    [
        {"budget": 0.02, "epochs": 10},
        {"round_length": 1e-4, "selection": {"name": "selective_backprop", "start": 0.0}},
        {"round_length": 1e-4, "lead": 3, "service": "thread", "sampler": "p_sgd"},
    ],
    ids=["small budget", "selection by chance", "ahead"],
)
def test_no_round_is_evaluated_without_a_step(recipe: Recipe, train_run: Train, settings: dict) -> None:
    session = train_run(
        recipe(**{"epochs": 1, "budget": 0.2, **settings}, model={"name": "resnet8", "width": 4})
    )
    steps = [line["step"] for line in session.folder.read("evaluations.jsonl")]
    assert steps == sorted(set(steps))
    assert steps[0] > 0
    assert session.ledger.steps == steps[-1] == session.account.total // 64


def test_a_run_prints_its_samplers_notes_once_and_in_one_line(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "fashion_mnist_cpu", "--data-dir", str(fashion), "--runs-dir", str(tmp_path / "runs")]
    words += ["--model", "resnet8", "--model.width", "4", "--epochs", "1", "--budget", "1", "--device", "cpu"]
    assert main([*words, "--batch-size", "128", "--sampler", "p_sgd"]) == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("note: ")]
    assert line == (
        "note: p_sgd: a round of 1,280 samples drawn without replacement from 1,280 takes each once, weights "
        "decide nothing: lower the budget, or take a sampler that draws with replacement"
    )
    assert "SamplingWarning" not in said.out + said.err
