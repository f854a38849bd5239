"""A run's output on the terminal: its settings, its progress, and its cost, counted both ways."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from tools.cli import main
from tools.progress import TerminalWatcher
from tools.reporting.wording import percent
from trainer.loop import train
from trainer.parallel import World
from trainer.recipe import from_table
from trainer.run_folder import RunFolder

SMALL = {
    "model": {"name": "resnet8", "width": 1},
    "epochs": 2,
    "budget": 0.3,
    "batch_size": 32,
    "device": "cpu",
}


def cells(said: str) -> dict[str, str]:
    """The rows of the table that a run ends with."""
    rows = [re.split(r"\s*│\s*", line.strip("│ \n")) for line in said.splitlines() if line.startswith("│")]
    return {row[0].strip(): row[1].strip() for row in rows}


def test_a_run_on_a_budget_of_compute_shows_both_ways_of_counting(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "run",
        "fashion_mnist_cpu",
        "--data-dir",
        str(fashion),
        "--runs-dir",
        str(tmp_path),
        "--name",
        "x",
    ]
    words += [
        "--model",
        "resnet8",
        "--model.width",
        "1",
        "--epochs",
        "2",
        "--batch-size",
        "32",
        "--device",
        "cpu",
    ]
    assert main([*words, "--selection", "foms", "--selection.start", "0", "--counts", "compute"]) == 0
    said = capsys.readouterr().out
    assert (
        "steps of 32, 30% of the compute of 2 epochs; sampler uniform, selection foms, augment standard"
        in said
    )
    ledger = json.loads((tmp_path / "x" / "ledger.json").read_text())
    shown = cells(said)
    assert shown["budget"] == "30% of compute"
    assert shown["samples trained"] == f"{ledger['trained']:,} of 2,560, {percent(ledger['trained'] / 2560)}"
    assert shown["compute"] == f"{percent(ledger['compute'] / 2560)} of a full training"
    scoring = sum(count * ledger["score_costs"][pixels] for pixels, count in ledger["scored_at"].items())
    assert shown["scoring"] == f"{percent(scoring / ledger['compute'])} of that, {ledger['scored']:,} samples"
    assert shown["a scoring pass"] == f"{ledger['score_cost']:.2f} of a training step"
    assert shown["FLOPs"].endswith("FLOP")


def test_the_bar_goes_by_the_share_of_the_budget(fashion: Path, tmp_path: Path) -> None:
    places = {"data": "fashion_mnist", "data_dir": str(fashion), "log_every": 5}
    run = from_table({**SMALL, **places}, where="test")
    out = io.StringIO()
    with TerminalWatcher(Console(file=out, force_terminal=True, width=200)) as watcher:
        train(run, RunFolder(tmp_path / "run", run), World(), watcher).close()
    said = out.getvalue()
    assert "24 steps of 32, 30% of 2 epochs; sampler uniform, augment standard" in said
    assert "step 24 of 24" in said
    assert "100%" in said


def test_what_is_odd_about_a_run_is_told_in_a_line(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 0.6 epochs the rate warms up in a sixth, and images are large in a third, two rounds of 0.06
    more."""
    words = ["run", "fashion_mnist_cpu", "--model", "resnet8", "--model.width", "1", "--device", "cpu"]
    words += ["--data-dir", str(fashion), "--runs-dir", str(tmp_path), "--epochs", "2", "--batch-size", "32"]
    words += ["--round-length", "0.2", "--resolution", "super_progressive", "--resolution.lowest", "14"]
    words += ["--resolution.step", "14", "--schedule", "fixed_one_cycle", "--schedule.warmup", "0.1"]
    assert main([*words, "--name", "odd"]) == 0
    line = (
        "note: images are at full resolution for 33.3% of the budget and the learning rate warms up for "
        "16.7% of it: --schedule.warmup 0.2 or --resolution.warmup 0.1667 makes them one"
    )
    assert capsys.readouterr().out.splitlines().count(line) == 1
    assert main([*words, "--name", "even", "--schedule.warmup", "0.2"]) == 0
    assert "note:" not in capsys.readouterr().out
