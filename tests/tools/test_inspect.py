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
        before = sorted(path.name for path in folder.iterdir())
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
    assert (
        f"note: no sheet is drawn, as {folder} can't be written to: name a file for it by --sheet" in said.out
    )
