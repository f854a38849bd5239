"""trainer advise: where the cost comes from, what is printed and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.cli import main


def ledger(folder: Path, **entries: Any) -> Path:
    folder.mkdir()
    (folder / "ledger.json").write_text(json.dumps({"schema": 1, **entries}))
    return folder


def test_figures_are_those_of_the_equation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "advice.json"
    words = ["--cost", "0.1", "--ratios", "2", "4", "20", "--alpha", "2", "--x-min", "10"]
    assert main(["advise", *words, "--json", str(out)]) == 0
    told = json.loads(out.read_text())
    assert {name: told[name] for name in ("schema", "score_cost", "alpha", "x_min")} == {
        "schema": 1,
        "score_cost": 0.1,
        "alpha": 2,
        "x_min": 10,
    }
    # 1 - (10 / 50)^2 and 1 - (10 / 25)^2; 5% is below x_min.
    uses, speeds = (0.96, 0.84, 0.0), (2 * 0.96 / 1.2, 4 * 0.84 / 1.4, 0.0)
    for row, ratio, use, speed in zip(told["rows"], (2, 4, 20), uses, speeds, strict=True):
        assert row["ratio"] == ratio
        assert row["trained"] == pytest.approx(1 / ratio)
        assert row["use"] == pytest.approx(use)
        assert row["scoring"] == pytest.approx(0.1 * ratio)
        assert row["speed_up"] == pytest.approx(speed)
    assert 4 < told["best"]["ratio"] < 10
    assert told["best"]["speed_up"] > 2.4
    said = capsys.readouterr().out
    assert "1.60x" in said
    assert "2.40x" in said
    assert f"best ratio: {told['best']['ratio']:.2f}, {told['best']['speed_up']:.2f}x" in said


def test_the_cost_can_come_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ledger(tmp_path / "run", score_cost=0.25)
    assert main(["advise", str(run), "--json", str(tmp_path / "advice.json")]) == 0
    assert main(["advise", str(run), "--json", str(tmp_path / "advice.json")]) == 0, "its own is replaced"
    assert json.loads((tmp_path / "advice.json").read_text())["score_cost"] == 0.25
    assert "scoring a sample costs 0.25 of training on one" in capsys.readouterr().out


def test_says_so_where_nothing_pays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "--cost", "2"]) == 0
    assert "no ratio pays" in capsys.readouterr().out


def test_help_says_where_the_formula_is_from_and_what_it_cannot_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["advise", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "eq. 4.5" in said
    assert "the formula is our interpretation" in said
    assert "Not known are" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "must come from a run folder or from --cost; got neither"),
        (("measured", "--cost", "0.3"), "must come from a run folder or from --cost; got both"),
        (("none",), "a run must be a folder made by `trainer run`; got none"),
        (("--cost", "0.1", "--json", "advice.txt"), "--json must end in .json; got advice.txt"),
        (("--cost", "0.1", "--json", "measured/ledger.json"), "must not replace a file that this command"),
        (("old",), "must hold ledger.json with score_cost"),
        (("broken",), "must hold ledger.json with score_cost"),
        (("unmeasured",), "score_cost must have been measured"),
        (("--cost", "-1"), "the cost of scoring must be at least 0 and finite; got -1"),
        (("--cost", "nan"), "the cost of scoring must be at least 0 and finite; got nan"),
        (("--cost", "0.1", "--ratios", "0.5"), "ratios must be at least 1 and finite; got 0.5"),
        (("--cost", "0.1", "--ratios"), "ratios must name at least one ratio"),
        (("--cost", "0.1", "--alpha", "0"), "alpha must be above 0"),
        (("--cost", "0.1", "--x-min", "100"), "x_min must be above 0 and below 100"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger(tmp_path / "measured", score_cost=0.2)
    ledger(tmp_path / "unmeasured", score_cost=None)
    ledger(tmp_path / "old")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ledger.json").write_text("{")
    assert main(["advise", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
