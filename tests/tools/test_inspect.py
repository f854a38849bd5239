"""``trainer inspect`` where nothing may be written, and paths with a tilde."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from tools.cli import main

_NOBODY = 65534


def made(path: Path) -> Path:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    convert(ArraySource("x", "train", "x", ("a", "b"), np.arange(4) % 2, images), path, ConvertOptions())
    return path


def test_a_set_that_may_not_be_written_beside_is_told_of_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder / "x.beton")
        # Whatever Python loads for it: another user may be kept from Python's own files.
        assert main(["inspect", str(folder / "x.beton"), f"--sheet={folder / 'sheet.png'}"]) == 0
        before = sorted(path.name for path in folder.iterdir())
        for path in folder.iterdir():
            path.chmod(0o644)  # whatever the umask: only writing is to be forbidden
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            # Nothing is forbidden to root.
            os.seteuid(_NOBODY)
        try:
            status = main(["inspect", str(folder / "x.beton")])
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
        assert sorted(path.name for path in folder.iterdir()) == before
    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    assert "classes" in said.out
    assert f"note: no sheet is drawn, as {folder} isn't writable: name a file for it by --sheet" in said.out


def test_sets_of_either_format_have_sheets_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in ("beton", "wds"):
        assert main(["inspect", str(made(tmp_path / f"x.{ending}"))]) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"x.beton.sheet.png", "x.wds.sheet.png"}
    (tmp_path / "x.wds.sheet.png").unlink()
    monkeypatch.chdir(tmp_path / "x.wds")
    assert main(["inspect", "."]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "x.wds.sheet.png").exists()
