"""Outcomes of studies: tables, sentences and the page, from folders that finished runs leave."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tools.studying import statistics, tables
from tools.studying.cells import Cell, Place, final_cells
from tools.studying.conclusion import conclusion
from tools.studying.definition import Study, read_study
from tools.studying.outcome import Outcome, assess
from tools.studying.publish import publish
from tools.studying.sheets import Sheet, comma_separated
from tools.studying.state import State, load_state
from trainer.errors import RunError

Write = Callable[..., Path]
Finish = Callable[..., None]

RESULTS = {
    "standard-uniform": (0.60, 0.62, 0.61),
    "standard-p_sgd": (0.70, 0.7203, 0.7105),
    "ricap-uniform": (0.50, 0.60, 0.70),
    "ricap-p_sgd": (0.51, 0.59, 0.72),
}


class Some:
    """A study, its cells and its state; runs finish with the results above."""

    def __init__(self, path: Path, folder: Path, finish: Finish) -> None:
        self.study: Study = read_study(str(path))
        self.folder = folder
        self.cells: tuple[Cell, ...] = final_cells(self.study, Place(folder, folder), {})
        self.state: State = load_state(self.study, folder)
        self._finish = finish

    def finish(self, *without: str, **ledger: float) -> None:
        for cell in self.cells:
            if cell.name not in without:
                seconds = 12.0 + (100.0 if cell.seed == 1 else 0.0)
                self._finish(cell, RESULTS[cell.arm.name][cell.seed], **{"train_seconds": seconds, **ledger})

    @property
    def outcome(self) -> Outcome:
        return assess(self.study, self.cells, self.state)


@pytest.fixture
def some(write: Write, finish: Finish, tmp_path: Path) -> Callable[..., Some]:
    return lambda **how: Some(write(**how), tmp_path / "runs", finish)


def rows(sheet: Sheet) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(comma_separated(sheet))))


def test_results_and_differences_by_hand(some: Callable[..., Some]) -> None:
    study = some()
    study.finish()
    outcome = study.outcome
    found = {f"{row['augment']}-{row['sampler']}": row for row in rows(tables.results(outcome))}
    assert float(found["standard-uniform"]["Accuracy"]) == pytest.approx(0.61)
    assert float(found["standard-uniform"]["sd, points"]) == pytest.approx(0.01)
    assert found["standard-uniform"]["n"] == "3"
    # The fastest and the slowest of 12, 112 and 12 seconds are left out.
    assert float(found["standard-uniform"]["training time"]) == pytest.approx(12 / 3600)
    one, other = outcome.comparisons
    differences = [0.10, 0.1003, 0.1005]
    assert one.differences == pytest.approx(differences)
    assert one.p == pytest.approx(statistics.paired_t(differences))
    assert (one.adjusted, other.adjusted) == pytest.approx((2 * (one.p or 0), other.p))
    assert (one.significant, other.significant) == (True, False)
    shown = tables.comparisons(outcome).rows
    assert [[cell.text for cell in row if cell.bold] for row in shown] == [
        ["+10.03", "<0.0001" if (one.adjusted or 1) < 1e-4 else f"{one.adjusted:.4f}", *["+10.03"] * 3],
        [],
    ]
    (better,) = [row for row in tables.results(outcome).rows if any(cell.bold for cell in row)]
    assert [cell.text for cell in better][:2] == ["standard", "p_sgd"]
    said = " ".join(conclusion(outcome))
    assert "Significant among 2 comparisons at n = 3 pairs or more, after Holm's correction: " in said
    assert "standard, p_sgd +10.03 points against uniform (n = 3, adjusted p = " in said
    assert "Smallest detectable difference at n = 3 (power 80%, two-sided alpha 0.05" in said


def test_nothing_is_bold_before_all_runs_have_ended(some: Callable[..., Some]) -> None:
    study = some()
    study.finish("standard-p_sgd-s2")
    outcome = study.outcome
    assert [one.significant for one in outcome.comparisons] == [False, False]
    said = conclusion(outcome)
    assert said[0] == "Provisional: 11 of 12 runs have ended."
    assert "No difference is significant among 2 comparisons at n = 2 pairs or more" in said[1]
    assert rows(tables.results(outcome))[1]["n"] == "2"


def test_runs_that_diverged_count_and_are_not_tested(some: Callable[..., Some]) -> None:
    study = some()
    study.finish("standard-p_sgd-s2")
    study.state.diverged["standard-p_sgd-s2"] = "loss must be finite"
    outcome = study.outcome
    assert outcome.ended == outcome.planned
    assert [one.p is None for one in outcome.comparisons] == [True, False]
    assert rows(tables.results(outcome))[1]["diverged"] == "1"
    assert "Runs diverged, and their arms are not tested: standard, p_sgd (1)." in conclusion(outcome)
    assert [row["reached"] for row in rows(tables.targets(outcome))] == ["2", "2", "2", "1"]


def test_costs_that_differ_are_given_as_ratios(some: Callable[..., Some], finish: Finish) -> None:
    study = some()
    study.finish()
    for cell in study.cells:
        if cell.arm.name == "standard-p_sgd":
            finish(cell, 0.7, trained=330, compute=305.0, train_seconds=24.0)
    one, other = study.outcome.comparisons
    assert [one.matched(measure) for measure in ("trained", "compute", "hours")] == [True, True, False]
    assert [cell.text for cell in tables.comparisons(study.outcome).rows[0]][
        -1
    ] == "(2.00\N{MULTIPLICATION SIGN})"
    assert other.matched("hours")


def test_an_exact_test_says_what_it_can_show(some: Callable[..., Some]) -> None:
    study = some(before='test = "sign_flip"\ntarget = 0.6\n')
    study.finish()
    assert [one.p for one in study.outcome.comparisons] == [0.25, 0.75]
    assert any("the exact test's least p-value is 0.25" in one for one in conclusion(study.outcome))
    reached = {f"{row['augment']}-{row['sampler']}": row for row in rows(tables.targets(study.outcome))}
    assert reached["ricap-uniform"]["reached"] == "2"
    assert reached["standard-p_sgd"]["samples to target"] == "200.0"


def test_outputs_are_whole_and_the_page_is_small_and_loads_nothing(
    some: Callable[..., Some], tmp_path: Path
) -> None:
    study = some()
    study.finish()
    console = Console(file=io.StringIO(), width=200)
    publish(study.study, study.cells, {}, study.state, tmp_path / "out", console)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("study.md", "study.html", "study.tex"),
        *(f"{name}.csv" for name in ("results", "comparisons", "targets", "speedups", "runs", "machines")),
    }
    page = (tmp_path / "out" / "study.html").read_text()
    assert len(page) < 200_000
    assert not re.search(r"https?://", page)
    assert "script-src &#x27;sha256-" in page
    assert page.count("<script>") == 1
    for heading in ("Results", "Entropy of sample counts", "Training accuracy", "Which classes and images"):
        assert heading in page
    assert "Class importance: a class&#x27;s part of all difficulties" in page
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    text = (tmp_path / "out" / "study.md").read_text()
    assert text.startswith("# Which sampler?\n")
    assert "trainer study" in text
    publish(study.study, study.cells, {}, study.state, tmp_path / "again", console)
    assert (tmp_path / "again" / "study.html").read_text() == page


def test_a_study_without_any_finished_run_has_tables_too(some: Callable[..., Some], tmp_path: Path) -> None:
    study = some()
    publish(study.study, study.cells, {}, study.state, tmp_path / "out", Console(file=io.StringIO()))
    assert "None of 12 runs has finished yet." in (tmp_path / "out" / "study.md").read_text()


def test_cells_of_different_primary_metrics_are_refused(some: Callable[..., Some]) -> None:
    study = some(after='primary_metric = ["accuracy", "loss"]\n')
    with pytest.raises(RunError, match="cells must have one primary metric"):
        _ = study.outcome
