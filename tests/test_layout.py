"""Files of tests hold one idea each, and so stay short."""

from __future__ import annotations

from pathlib import Path

MOST_LINES = 300


def test_no_file_of_tests_is_long() -> None:
    folder = Path(__file__).parent
    lines = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8").count("\n")
        for path in folder.rglob("*.py")
    }
    assert len(lines) > 100
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not long, f"split these along their ideas: {long}"
