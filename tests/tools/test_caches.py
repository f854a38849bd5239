"""Folders of compiled code that can't be written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forked import run_command

from tools.caches import VARIABLES

Words = Callable[..., list[str]]


def test_a_cache_that_can_not_be_written_to_is_told_and_left_out(tiny_words: Words, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "cache")
    ended = run_command(tiny_words("--epochs", "1"), dict.fromkeys(VARIABLES, place))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == [
        f"note: {name} ({place}) can't be written to; torch's usual folder is taken" for name in VARIABLES
    ]
