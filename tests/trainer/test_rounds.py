"""Rounds of a run: at least a batch, and notes of samplers appear once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.cli import main
from trainer.config import Run
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]

SMALL = {"name": "resnet8", "width": 4}


@pytest.mark.parametrize(
    "settings",
    [
        {"budget": 0.02, "epochs": 10},
        {"round_length": 1e-4, "selection": {"name": "selective_backprop", "start": 0.0}},
        {"round_length": 1e-4, "lead": 3, "service": "thread", "sampler": "p_sgd"},
    ],
    ids=["small budget", "selection by chance", "ahead"],
)
def test_no_round_is_evaluated_without_a_step(recipe: Recipe, train_run: Train, settings: dict) -> None:  # type: ignore[type-arg]
    session = train_run(recipe(**{"epochs": 1, "budget": 0.2, **settings}, model=SMALL))
    steps = [line["step"] for line in session.folder.read("evaluations.jsonl")]
    assert steps == sorted(set(steps))
    assert steps[0] > 0
    assert session.ledger.steps == steps[-1] == session.account.total // 64


SELECTIONS = [
    {},
    {"selection": "ordered_sgd"},
    {"selection": "foms"},
    {"selection": {"name": "greedy", "ratio": 3.3}},
    {"selection": {"name": "selective_backprop", "start": 0.0, "keep": 0.5}},
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=["none", "ordered_sgd", "foms", "greedy", "by chance"])
def test_a_round_trains_on_as_much_with_a_selection_as_without(
    recipe: Recipe,
    train_run: Train,
    selection: dict,  # type: ignore[type-arg]
) -> None:
    run = recipe(**selection, budget=0.5, epochs=3, round_length=0.5, model=SMALL, batch_size=32)
    session = train_run(run)
    ends = [line["samples"] for line in session.folder.read("evaluations.jsonl")]
    size = 320
    assert session.ledger.rounds == session.run_rounds == len(ends) == 6
    # A round ends with the order nearest to its share, of at most 640 loaded, plus what waits for a batch.
    for number, end in enumerate(ends[:-1], start=1):
        assert abs(end - number * size) <= size / 2 + 32
    assert ends[-1] == 1920
    assert session.plan.epochs == 3
    assert session.plan.total >= 1920
    if not session.selector.loads_more:
        assert session.plan.total == 1920
        assert [round(end / 32) for end in ends] == [
            number * size // 32 for number in range(1, len(ends) + 1)
        ]


def test_a_selecting_run_changes_its_resolution_between_rounds(recipe: Recipe, train_run: Train) -> None:
    progressive = {"resolution": {"name": "progressive", "lowest": 14, "step": 7}}
    run = recipe(
        selection="foms", budget=0.5, epochs=4, log_every=1, batch_size=32, model=SMALL, **progressive
    )
    session = train_run(run)
    seen: dict[int, set[int]] = {}
    for line in session.folder.read("steps.jsonl"):
        seen.setdefault(line["round"], set()).add(line["pixels"])
    assert len(seen) == 4
    assert all(len(pixels) == 1 for pixels in seen.values())
    assert len(set().union(*seen.values())) > 1
    assert session.orders > session.ledger.rounds


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
        "have no effect: lower the budget, or choose a sampler that draws with replacement"
    )
    assert "SamplingWarning" not in said.out + said.err
