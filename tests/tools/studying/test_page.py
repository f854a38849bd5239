"""The page of a study in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from browser import check, check_sorting, running
from rich.console import Console

from tools.studying.cells import Place, final_cells
from tools.studying.definition import read_study
from tools.studying.publish import publish
from tools.studying.state import load_state


def test_it_is_there_sorts_and_asks_for_nothing(
    write: Callable[..., Path], finish: Callable[..., None], tmp_path: Path
) -> None:
    study, folder = read_study(str(write())), tmp_path / "runs"
    cells = final_cells(study, Place(folder, folder), {})
    for number, cell in enumerate(cells):
        finish(cell, 0.5 + number / 100)
    publish(study, cells, {}, load_state(study, folder), tmp_path / "out", Console(quiet=True))
    with running() as browser:
        page = check(browser, tmp_path / "out" / "study.html", charts=4)
        check_sorting(page, column=2)
