"""Benches end in the time that they are given, and say what there was no time for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.text import read_json
from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.command import BENCHES
from tools.cli import main


def test_without_a_limit_every_case_is_measured_as_often_as_asked() -> None:
    clock = Clock()
    calls: list[str] = []
    for case in clock.cases(["a", "b"]):
        measure.interleave([lambda case=case: calls.append(case)], 5, warmup=0, clock=clock)  # type: ignore[misc]
    assert calls == ["a"] * 5 + ["b"] * 5
    assert clock.notes() == []


def test_where_time_is_short_a_case_is_measured_once_and_the_rest_is_told() -> None:
    clock = Clock(0.001)
    calls: list[str] = []

    def work(case: str) -> None:
        calls.append(case)
        time.sleep(0.001)

    for case in clock.cases(["a", "b", "c"]):
        measure.interleave([lambda case=case: work(case)], 100, warmup=0, clock=clock)  # type: ignore[misc]
    assert calls == ["a"]
    shortened, left_out = clock.notes()
    assert shortened.endswith("at least once, to end in 1.66667e-05 minutes: a")
    assert left_out.startswith("left out, since 1.66667e-05 minutes were over: b, c")
    assert left_out.endswith("--minutes allows more time")


def test_once_may_be_asked_for() -> None:
    clock = Clock(1e-9)
    done = 0
    for _ in clock.cases(["a"]):
        while clock.goes_on(done, 1):
            done += 1
    assert done == 1
    assert clock.notes() == []


def test_what_one_case_leaves_the_others_have() -> None:
    clock = Clock(3600)
    cases = clock.cases(["quick", "slow"])
    next(cases)
    assert not clock.goes_on(10, 10)
    next(cases)
    assert clock.goes_on(3, 10)
    assert clock.notes() == []


@pytest.mark.parametrize("bench", BENCHES)
def test_every_bench_has_the_option(bench: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["bench", bench, "--help"])
    assert "--minutes" in capsys.readouterr().out
    assert main(["bench", bench, "--minutes", "0"]) == 2
    assert "--minutes must be above 0; got 0" in capsys.readouterr().err


def test_a_bench_that_is_out_of_time_writes_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.json"
    words = ["bench", "augment", "--pixels", "32", "--augment", "standard", "cutout", "--minutes", "1e-6"]
    assert main([*words, "--json", str(out)]) == 0
    assert {row["case"] for row in read_json(out.read_text())} == {"augment/standard/32"}
    told = capsys.readouterr().out
    assert "measured less often than requested, at least once" in told
    assert "left out, since 1e-06 minutes were over: cutout/32" in told


def test_rows_are_strict_json_whatever_was_measured(tmp_path: Path) -> None:
    rows = [
        measure.Row.compare("a", float("nan"), "s", "peer", 1.0),
        measure.Row.compare("b", 0.0, "s", "peer", 1.0),
        measure.Row.compare("c", 1.0, "images/s", "peer", 0.0),
        measure.Row.compare("d", float("inf"), "MB"),
    ]
    measure.write(rows, tmp_path / "rows.json")
    read = read_json((tmp_path / "rows.json").read_text())
    assert [row["ratio"] for row in read] == [None] * 4
    assert [row["ours"] for row in read] == [None, 0.0, 1.0, None]
