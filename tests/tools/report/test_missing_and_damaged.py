"""Missing and damaged files of run folders are listed, and the rest is reported."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_pages import PHASES, page, write_run

from tools.report import write_report
from tools.reporting import bars
from trainer.errors import RunError


def test_an_unfinished_run_is_reported_as_such(run: Path) -> None:
    (run / "samples.parquet").unlink()
    for name, lines in (("steps.jsonl", 3), ("evaluations.jsonl", 8)):
        kept = (run / name).read_text().splitlines(keepends=True)[:lines]
        (run / name).write_text("".join(kept) + '{"step": 9')
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | {"finished": False, "trained": 3000, "steps": 30}))
    made = page(run)
    assert made.texts("h1")[0].startswith(
        "Unfinished, accuracy 73.2% so far, on the way to 30% of the full budget"
    )
    assert (
        "3,000 of 6,000 (50.0%) samples of its budget of 30% are trained after step 30"
        in made.texts("aside")[0]
    )
    assert "samples.parquet is missing" in made.texts("aside")[0]
    assert "steps.jsonl" not in made.texts("aside")[0]


def test_a_run_that_has_only_begun(run: Path, tmp_path: Path) -> None:
    for file in run.iterdir():
        if file.name != "run.toml":
            file.unlink()
    made = page(run)
    assert "it has logged no step yet" in made.text
    missing = (
        "environment.json is missing, ledger.json is missing, steps.jsonl is missing, evaluations.jsonl is"
    )
    assert missing in made.text
    assert "No evaluation is recorded." in made.text
    other = page(run, write_run(tmp_path / "b", {"lr": 0.2}), out=tmp_path / "out.html")
    assert "b reached 91.2%" in other.texts("h1")[0]
    assert page(run, run, out=tmp_path / "out.html").texts("h1") == [
        "2 runs, none of which has been evaluated yet."
    ]


FILES = ["environment.json", "ledger.json", "steps.jsonl", "evaluations.jsonl", "samples.parquet"]
DAMAGE = [
    b"",
    b"[1]\n",
    b"{}\n",
    b"{\n",
    b"\xff\xfe\x00\n",
    b'{"step": "x", "loss": NaN, "accuracy": null}\n',
]


@pytest.mark.parametrize("name", FILES)
def test_each_file_may_be_missing_or_damaged(run: Path, tmp_path: Path, name: Any) -> None:
    whole = (run / name).read_bytes()
    other = write_run(tmp_path / "other", {"lr": 0.3})
    (run / name).unlink()
    assert f"{name} is missing" in page(run).text
    for damage in [*DAMAGE, whole[: len(whole) // 2], whole.replace(b":", b" ", 1)]:
        (run / name).write_bytes(damage)
        assert "Cost and result of each run" in page(run, other, out=tmp_path / "both.html").text


@pytest.mark.parametrize(
    ("name", "damage"), [("ledger.json", b"{"), ("samples.parquet", b"PAR1"), ("steps.jsonl", b"\xff")]
)
def test_damage_is_named(run: Path, name: str, damage: bytes) -> None:
    (run / name).write_bytes(damage)
    assert f"{name} can't be read" in page(run).text


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_a_fault_and_not_waited_for(run: Path, name: Any) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    assert f"{name} can't be read" in page(run).text


def test_lines_that_cannot_be_read_are_counted(run: Path) -> None:
    with (run / "steps.jsonl").open("a") as file:
        file.write("nonsense\n[]\n")
    assert "2 of steps.jsonl's 8 lines can't be read" in page(run).text


@pytest.mark.parametrize(
    "values",
    [
        {"trained": None, "phases": None},
        {"trained": 0, "train_seconds": 0, "full_budget_samples": 0, "planned": 0, "stall": 0},
        {"trained": 10**400, "phases": {"wait": float("inf"), "forward": "x"}, "stall": float("nan")},
        {"phases": {}, "budget": "x", "steps": True},
        {"phases": dict.fromkeys(PHASES, 0.0)},
        {"phases": {"wait": -1.0, "unheard_of": 3.0}},
        {"counts": 3, "compute": "x", "trained_at": [1], "scored_at": {"x": 1, "8": None}, "flops": -1},
        {"counts": "compute", "compute": 0, "trained_at": {"8": 0, "16": 0}, "score_costs": {"8": "y"}},
    ],
)
def test_strange_ledgers_do_not_break_the_page(run: Path, tmp_path: Path, values: Any) -> None:
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | values))
    page(run)
    page(run, write_run(tmp_path / "b", {"lr": 0.2}), out=tmp_path / "both.html")


def test_samples_of_other_types_are_a_fault(run: Path) -> None:
    table = pa.table({"label": ["x"], "times_seen": [1], "mean_probability": [0.5]})
    pq.write_table(table, run / "samples.parquet")
    assert "samples.parquet can't be read" in page(run).text
    pq.write_table(pa.table({"label": [1]}), run / "samples.parquet")
    assert "samples.parquet can't be read" in page(run).text


def test_nothing_seen_and_nothing_there(run: Path) -> None:
    columns = {
        "label": np.zeros(3, int),
        "times_seen": np.zeros(3, int),
        "mean_probability": np.full(3, np.nan),
    }
    pq.write_table(pa.table(columns), run / "samples.parquet")
    assert "3 (100.0%)" in page(run).text
    pq.write_table(pa.table({name: column[:0] for name, column in columns.items()}), run / "samples.parquet")
    assert "No per-sample record is there." in page(run).text


def test_an_evaluation_that_is_not_of_the_last_round_is_pointed_out(run: Path) -> None:
    kept = (run / "evaluations.jsonl").read_text().splitlines(keepends=True)[:-1]
    (run / "evaluations.jsonl").write_text("".join(kept))
    assert "The last evaluation was made at step 57 of 60" in page(run).texts("aside")[0]


def test_overlapping_phases_are_pointed_out(run: Path) -> None:
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | {"phases": PHASES | {"forward": 90.0}}))
    assert bars.OVERLAP_NOTE in page(run).texts("p")


def test_what_is_not_a_run_is_an_error_of_one_line(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = write_run(tmp_path / "broken")
    (broken / "run.toml").write_text("lr = = 1\n")
    newer = write_run(tmp_path / "newer", schema=3)
    newest = write_run(tmp_path / "newest")
    pq.write_table(
        pq.read_table(run / "samples.parquet").replace_schema_metadata({"schema": "9"}),
        newest / "samples.parquet",
    )
    for path, message in (
        (tmp_path / "nowhere", "nowhere does not exist"),
        (file, "file is a file"),
        (empty, "empty holds no run.toml"),
        (tmp_path, f"holds no run.toml: name a folder in it, as {tmp_path / 'broken'}"),
        (broken, "run.toml must be TOML"),
        (newer, "ledger.json must be of schema 2 or older; got 3: update budgetrain"),
        (newest, "samples.parquet must be of schema 2 or older; got 9"),
    ):
        with pytest.raises(RunError, match=re.escape(message)) as error:
            write_report([run, path], tmp_path / "out.html")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out.html").exists()
    with pytest.raises(RunError, match="at least one run folder"):
        write_report([])
