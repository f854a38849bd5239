"""Where the page goes, and what it never replaces."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from report_pages import page, write_run
from rich.console import Console

from pipeline.errors import DataError
from tools.arguments import UsageError, parse
from tools.report import Report, write_report
from trainer.errors import RunError


def test_where_the_page_goes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_run(tmp_path / "elsewhere" / "b")
    assert write_report([run]) == run / "report.html"
    assert write_report([run, other]).resolve() == run.parent / "report.html"
    assert write_report([run], tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    monkeypatch.chdir(run)
    assert page(Path()).texts("h1")[0].startswith("Accuracy 91.2%")
    assert write_report([Path(), other]).resolve() == run.parent / "report.html"


def test_a_page_that_cannot_be_written_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="out must be a file; got the folder"):
        write_report([run], tmp_path)
    with pytest.raises(DataError, match=r"report.html can't be written"):
        write_report([run], run / "run.toml" / "report.html")


def test_a_page_that_was_there_is_replaced_whole(run: Path) -> None:
    (run / "report.html").write_text("old")
    assert "<!doctype html>" in page(run).source
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_the_command_says_where_the_page_is(run: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    command = parse(Report, [str(run), "--out", str(tmp_path / "page.html")], "trainer report")
    assert command.execute(Console(file=out, width=20)) == 0
    assert out.getvalue() == f"report: {tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").is_file()


def test_the_command_replaces_nothing_but_pages(run: Path, tmp_path: Path) -> None:
    before = (run / "samples.parquet").read_bytes()
    for out, message in (
        (run / "samples.parquet", "--out must end in .html; got .*: name one such as report.html"),
        (run, "--out must end in .html"),
        (run / "run.toml" / "x.html", "--out must be in a folder that can be written to"),
    ):
        command = parse(Report, [str(run), "--out", str(out)], "trainer report")
        with pytest.raises(UsageError, match=message):
            command.execute(Console(file=io.StringIO()))
    assert (run / "samples.parquet").read_bytes() == before


def test_a_copied_folder_gives_the_same_figures(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    assert page(copy).texts("h1") == page(run).texts("h1")
