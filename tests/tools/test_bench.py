"""Benchmarks measure real work and write rows that say what they are."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tools.arguments import UsageError
from tools.bench.measure import Row, interleave
from tools.bench.profile import ProfileBench
from tools.bench.selection import SelectionBench
from tools.bench.ssl import SslBench
from tools.bench.ubn import UbnBench
from tools.cli import main


def test_a_ratio_is_how_many_times_better_ours_is() -> None:
    assert Row.compare("a", 20.0, "images/s", "b", 10.0).ratio == 2
    assert Row.compare("a", 20.0, "s", "b", 10.0).ratio == 0.5
    assert Row.compare("a", 20.0, "MB").ratio is None


def test_works_are_measured_in_turn() -> None:
    calls: list[str] = []
    works = [lambda: calls.append("a"), lambda: (calls.append("b"), time.sleep(0.01))]
    ours, theirs = interleave(works, repeats=3, warmup=1)
    assert "".join(calls) == "ab" + "ababab"
    assert theirs >= 0.01
    assert ours > 0


def test_a_bench_writes_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    words = ["bench", "step", "--repeats", "1", "--steps", "1", "--augment", "standard", "--batch-size", "8"]
    assert main([*words, "--device", "cpu", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())
    assert row["case"] == "step/standard"
    assert row["ratio"] == pytest.approx(row["ours"] / row["theirs"])
    assert "step/standard" in capsys.readouterr().out


def test_rounds_are_compared_with_uniforms(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    words = ["bench", "rounds", "--repeats", "1", "--samples", "2000", "--device", "cpu", "--json", str(out)]
    assert main(words) == 0
    (row,) = json.loads(out.read_text())
    assert (row["case"], row["peer"], row["unit"]) == ("run/p_sgd", "uniform", "s")
    assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])


def test_a_case_that_profile_lacks_is_one_line() -> None:
    with pytest.raises(UsageError, match="cases must be of profile, tune; got 'profil'"):
        ProfileBench(cases=("profil",))


def test_a_profiles_seconds_and_overhead_are_measured() -> None:
    bench = ProfileBench(cases=("profile",), width=1, batch_size=16, samples=256, seconds=0.01)
    rows = {row.case: row for row in bench.rows()}
    assert list(rows) == ["profile/seconds", "profile/overhead"]
    assert rows["profile/overhead"].ours >= 0


def test_an_unknown_bench_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "stepp"]) == 2
    assert "bench must be one of step" in capsys.readouterr().err


def test_selections_are_measured_against_plain_steps() -> None:
    cases = ("foms/0.5", "ordered_sgd", "focal", "impon", "selective_backprop")
    bench = SelectionBench(cases=cases, model="resnet8", pixels=16, batch_size=8, repeats=2, steps=2)
    rows = {row.case: row for row in bench.rows()}
    assert list(rows) == [f"select/{case}" for case in cases]
    # A scoring pass of twice the batch can't be free, nor a linear model; nothing takes negative time.
    assert rows["select/foms/0.5"].ours > 0
    assert rows["select/impon"].ours > 0
    assert all(row.ours > -1 for row in rows.values())


@pytest.mark.parametrize("case", ["nothing", "foms/", "foms/0.4,foms/0.3", "foms/1.5"])
def test_an_unknown_case_of_selection_lists_those_there_are(case: str) -> None:
    with pytest.raises(UsageError, match=r"cases must be of foms/0\.43, .*, or foms/R"):
        SelectionBench(cases=(case,))


def test_self_supervision_is_measured_against_its_arithmetic_and_lightly() -> None:
    cases = ("hard_augment/4", "view-pipeline")
    bench = SslBench(
        cases=cases, model="resnet8", pixels=14, batch_size=8, images=8, threads=1, repeats=1, device="cpu"
    )
    rows = {row.case: row for row in bench.rows()}
    assert list(rows) == [f"ssl/{case}" for case in cases]
    assert rows["ssl/hard_augment/4"].peer == "arithmetic"
    assert rows["ssl/hard_augment/4"].theirs == pytest.approx(4 * 4**2 / (6 * 14**2))
    assert rows["ssl/view-pipeline"].peer == "lightly"
    assert all(row.ours > 0 for row in rows.values() if row.unit == "images/s")


def test_an_unknown_case_of_self_supervision_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"cases must be of hard_augment/4, .*; got 'knn'"):
        SslBench(cases=("knn",))


def test_a_step_of_unsupervised_normalization_is_compared_with_a_plain_one() -> None:
    bench = UbnBench(model="resnet8", width=4, pixels=16, batch_size=16, repeats=2, device="cpu")
    rows = {row.case: row for row in bench.rows()}
    assert list(rows) == ["ubn/step", "ubn/memory"]
    assert rows["ubn/step"].ours > 0
    memory = rows["ubn/memory"]
    assert memory.peer == "plain step"
    # The pass that records keeps nothing for a backward pass: activations are those of labelled images alone.
    assert memory.ratio is not None
    assert memory.ratio > 0.85
    with pytest.raises(UsageError, match="cases must be of step, memory; got 'time'"):
        UbnBench(cases=("time",))
