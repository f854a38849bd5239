"""Runs with sinks: what they hold, and that a run is the same whatever it is watched by."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.cli import main
from tools.reporting import settings
from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.recipe import from_table, to_table
from trainer.run_folder import folder_name
from trainer.sinks import SINKS, JsonLines  # type: ignore[attr-defined]
from trainer.slots import SLOTS


def test_a_run_always_writes_json_lines_and_its_name_does_not_depend_on_sinks() -> None:
    run = from_table({"sinks": ["csv", "tensorboard"]}, "test")
    assert SLOTS["sinks"].named(run) == "jsonl + csv + tensorboard"
    assert folder_name(run) == folder_name(from_table({}, "test"))
    assert from_table({}, "test").sinks == (JsonLines(),)
    assert SLOTS["sinks"].plural == "sinks"


def test_runs_that_differ_in_sinks_alone_are_one_group_of_a_report() -> None:
    watched = from_table({"sinks": [{"name": "wandb", "project": "other"}]}, "test")
    tables = [settings.flatten(to_table(run)) for run in (watched, from_table({}, "test"))]
    assert tables[0]["sinks.wandb.project"] == "other"
    assert settings.seed_groups(tables) == [[0, 1]]


def a_run(data: Path, runs: Path, **more: Any) -> Run:
    table = {
        "data": str(data),
        "model": {"name": "resnet8", "width": 4},
        "runs_dir": str(runs),
        "name": "x",
        "epochs": 4,
        "budget": 0.5,
        "batch_size": 16,
        "log_every": 2,
        "device": "cpu",
        "threads": 1,
    }
    return from_table({**table, **more}, "test")


def test_tables_are_those_of_the_json_lines_and_change_nothing(
    tiny: Callable[..., Path], tmp_path: Path, train_run: Callable[..., Any]
) -> None:
    data = tiny()
    watched = train_run(a_run(data, tmp_path, sinks=["csv"]))
    plain = train_run(a_run(data, tmp_path, name="plain"))
    assert watched.fingerprint() == plain.fingerprint()
    folder = tmp_path / "x"
    lines = [json.loads(text) for text in (folder / "steps.jsonl").read_text().splitlines()]
    with (folder / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == lines
    evaluations = [json.loads(text) for text in (folder / "evaluations.jsonl").read_text().splitlines()]
    with (folder / "evaluations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [line["metrics"]["accuracy"] for line in evaluations]


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_run_ends_with_every_point_once(
    tiny: Callable[..., Path], tmp_path: Path, watch: Callable[..., Any], train_run: Callable[..., Any]
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = a_run(tiny(), tmp_path, sinks=["csv", "tensorboard"])
    with pytest.raises(InterruptedRunError):
        train_run(run, watch(stop_at=10))
    train_run(run)
    folder = tmp_path / "x"
    lines = [json.loads(text) for text in (folder / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(2, 17, 2))
    with (folder / "steps.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(2, 17, 2))
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert [step for step, _ in points] == list(range(2, 17, 2))
    assert [loss for _, loss in points] == pytest.approx([line["loss"] for line in lines], rel=1e-6)
    assert [event.step for event in events.Scalars("test/accuracy")] == [4, 8, 12, 16]


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_one_line_before_training(
    name: str,
    module: str,
    tiny_words: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(tiny_words("--sinks", name)) == 2
    said = capsys.readouterr().err
    assert f"pip install 'budgetrain[{name}]', or leave the sink out" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs" / "x" / "run.toml").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--sinks", "csv", "csv"), "sinks must be different ones; got CsvTables twice"),
        (("--sinks", "excel"), f"sinks must be one of {', '.join(SINKS)}; got 'excel'"),
        (("--sinks", "wandb", "--sinks.wandb.mode", "sometimes"), "--sinks.wandb.mode"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...],
    line: str,
    tiny_words: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(tiny_words(*words)) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
