"""Published results beside a study's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tools.reporting.wording import NONE
from tools.studying import claims, tables
from tools.studying.cells import Place, final_cells
from tools.studying.claims import Verdict
from tools.studying.conclusion import conclusion
from tools.studying.definition import read_study
from tools.studying.outcome import Outcome, assess
from tools.studying.publish import publish
from tools.studying.sheets import comma_separated
from tools.studying.state import load_state
from trainer.errors import RunError

Write = Callable[..., Path]
Finish = Callable[..., None]

PUBLISHED = """
[published]
source = "Somebody et al. (2021), table 9"
runs = 4
results = [
  { augment = "standard", sampler = ["uniform", "p_sgd"], mean = [93.48, 93.98], sd = [0.1, 0.2] },
  { augment = "ricap", sampler = "uniform", mean = 94.9 },
]
"""


def outcome(path: Path, folder: Path, finish: Finish, results: dict[str, tuple[float, ...]]) -> Outcome:
    study = read_study(str(path))
    cells = final_cells(study, Place(folder, folder), {})
    for cell in cells:
        if cell.arm.name in results:
            finish(cell, results[cell.arm.name][cell.seed])
    return assess(study, cells, load_state(study, folder))


def test_a_published_difference_by_hand(write: Write, finish: Finish, tmp_path: Path) -> None:
    found = outcome(
        write(after=PUBLISHED),
        tmp_path,
        finish,
        {
            "standard-uniform": (0.6, 0.61, 0.62),
            "standard-p_sgd": (0.70, 0.7103, 0.7205),
            "ricap-uniform": (0.5, 0.6, 0.7),
            "ricap-p_sgd": (0.51, 0.59, 0.72),
        },
    )
    (claim,) = claims.claims(found)
    assert claim.difference == pytest.approx(0.005)
    # Twice the square root of (0.1^2 + 0.2^2) / 4, in percent.
    assert claim.uncertainty == pytest.approx(0.0022360, rel=1e-4)
    assert claim.verdict is Verdict.HELD
    lines = comma_separated(tables.results(found)).splitlines()
    assert lines[0].split(",")[3] == "published"
    assert float(lines[1].split(",")[3]) == pytest.approx(0.9348)
    shown = tables.results(found)
    assert "Published: Somebody et al. (2021), table 9" in shown.caption
    assert [row[3].text for row in shown.rows] == ["93.48 ± 0.1", "93.98 ± 0.2", "94.9", NONE]
    assert "Of 1 difference in Somebody et al. (2021), table 9: 1 held." in conclusion(found)
    (row,) = claims.sheet(found).rows
    assert [cell.text for cell in row[3:5]] == ["+0.50 ± 0.22", "+10.03"]


@pytest.mark.parametrize(
    ("p_sgd", "means", "verdict"),
    [
        ((0.50, 0.5103, 0.5205), "[93.48, 93.98]", Verdict.OPPOSITE),
        ((0.50, 0.6603, 0.6605), "[93.48, 93.98]", Verdict.UNDECIDED),
        ((0.70, 0.7103, 0.7205), "[93.48, 93.5]", Verdict.FOUND),
        ((0.50, 0.6603, 0.6605), "[93.48, 93.5]", Verdict.NEITHER),
    ],
)
def test_the_verdict_on_a_difference(
    write: Write, finish: Finish, tmp_path: Path, p_sgd: tuple[float, ...], means: str, verdict: Verdict
) -> None:
    path = write(after=PUBLISHED.replace("[93.48, 93.98]", means))
    found = outcome(path, tmp_path, finish, {"standard-uniform": (0.6, 0.61, 0.62), "standard-p_sgd": p_sgd})
    (claim,) = claims.claims(found)
    assert claim.verdict is verdict


def test_nothing_is_said_before_the_runs_have_ended(write: Write, finish: Finish, tmp_path: Path) -> None:
    path = write(after=PUBLISHED)
    (tmp_path / "runs").mkdir()
    study = read_study(str(path))
    cells = final_cells(study, Place(tmp_path, tmp_path), {})
    for cell in cells[:6]:
        finish(cell, 0.5 + 0.1 * cell.seed)
    some = assess(study, cells, load_state(study, tmp_path))
    assert [claim.verdict for claim in claims.claims(some)] == [Verdict.PENDING]
    assert claims.sentence(some) is None
    publish(study, cells, {}, load_state(study, tmp_path), tmp_path, Console(quiet=True))
    assert "runs missing" in (tmp_path / "claims.csv").read_text()
    assert "Published differences" in (tmp_path / "study.html").read_text()


@pytest.mark.parametrize(
    ("replaced", "line"),
    [
        (("source =", "sauce ="), "a key must be one of source, runs, results; got 'sauce'"),
        (("runs = 4", "runs = 0"), "runs must be a whole number of at least 1; got 0"),
        (("[93.48, 93.98]", "[93.48]"), "mean must have as many numbers as the row has labels, 2; got 1"),
        (("94.9 }", '"94.9" }'), "mean must be a number, in percent where the metric is; got '94.9'"),
        (
            ('"ricap", ', '"ricap", budget = 0.3, '),
            "must name axes of the grid, augment, sampler; got 'budget'",
        ),
        (('augment = "ricap", ', ""), "a row must have a label of each axis; got none of augment"),
        (('augment = "standard"', 'augment = ["standard", "ricap"]'), "one axis of a row may have several"),
        (('"ricap", sampler', '"standard", sampler'), "got two for augment standard, sampler uniform"),
        ((", mean = 94.9", ""), "a row must have labels and a mean"),
        (("results = [", "more = ["), "must have source and results"),
    ],
)
def test_mistakes_in_one_line(write: Write, replaced: tuple[str, str], line: str) -> None:
    assert replaced[0] in PUBLISHED
    with pytest.raises(RunError) as error:
        read_study(str(write(after=PUBLISHED.replace(*replaced))))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_published_result_of_no_cell_is_refused(write: Write) -> None:
    without = '[[exclude]]\naugment = "ricap"\nsampler = "uniform"\n'
    with pytest.raises(RunError, match="there is none with augment ricap, sampler uniform"):
        read_study(str(write(after=without + PUBLISHED)))
