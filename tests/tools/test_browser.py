"""Pages in a real browser: reports of runs, profiles, and their comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, check, check_sorting, running
from evaluations import evaluation
from profile_figures import figures
from report_pages import write_run

from tools.cli import main
from tools.report import write_report


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as started:
        yield started


def test_reports_of_runs(browser: Browser, tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "runs" / name, accuracy=0.9 + index / 100) for index, name in enumerate("ab")
    ]
    check(browser, write_report(runs[:1]), charts=5)
    check(browser, write_report(runs, tmp_path / "both.html"), charts=4)


def test_a_profile_and_a_comparison(browser: Browser, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("slow", "fast")]
    for folder, scale in zip(folders, (1.0, 0.5), strict=True):
        folder.mkdir()
        made = figures()
        made["windows"] = {
            name: [scale * value for value in taken] for name, taken in made["windows"].items()
        }
        (folder / "profile.json").write_text(json.dumps(made))
        assert main(["profile", str(folder)]) == 0
    page = check(browser, folders[0] / "profile.html", charts=16)
    check_sorting(page, column=4)
    assert "1.80 times as fast" in page.run("document.body.innerText")
    sizes = [page.run(f"document.querySelectorAll('.{name}').length") for name in ("hatched", "span")]
    assert sizes == [10, 80]
    assert (folders[0] / "profile.html").stat().st_size < 2_000_000
    assert main(["profile", *map(str, folders)]) == 0
    check(browser, folders[1] / "comparison.html", charts=0)


def test_an_evaluation(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "evaluation.html"
    file.write_text(evaluation("class", 12))
    page = check(browser, file, charts=1)
    check_sorting(page, column=4)
    assert page.run("[...document.images].every((one) => one.naturalWidth > 0 && one.alt)")
    shades = page.run("getComputedStyle(document.querySelector('.matrix .right')).backgroundColor")
    assert shades not in ("rgba(0, 0, 0, 0)", "transparent")
    file.write_text(evaluation("multi_label", 3))
    check(browser, file, charts=1)
    file.write_text(evaluation("value", 3))
    check(browser, file, charts=3)
