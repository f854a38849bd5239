"""Files are written whole or not at all, by one writer, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.formats import Sample, StoredImage
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.parallel import in_order
from pipeline.formats.whole import PartialFile, partial_path, write_whole


def test_nothing_appears_before_a_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.beton"
    with BetonWriter(path, 2) as writer:
        full = StoredImage.of(bytes(3), 1, 1)
        writer.append(Sample([full], False, 0, "x"))
        assert not path.exists()
        assert partial_path(path).exists()
    assert list(path.parent.iterdir()) == []


def test_a_file_has_one_writer_at_a_time_and_stale_parts_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with PartialFile(path), pytest.raises(DataError, match="one writer at a time"):
        PartialFile(path)
    partial_path(path).write_bytes(b"left behind by one that was killed")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="can't be written: "):
        BetonWriter(tmp_path / "file" / "x.beton", 1)


def test_results_come_in_order_and_the_first_error_at_its_turn() -> None:
    def work(number: int) -> int:
        if number in (7, 9):
            raise ValueError(f"work {number}")
        return number * number

    assert list(in_order(work, range(7), 3)) == [number * number for number in range(7)]
    results = in_order(work, range(100), 3)
    assert [next(results) for _ in range(7)] == [number * number for number in range(7)]
    with pytest.raises(ValueError, match="work 7"):
        next(results)


def test_works_wait_for_a_slow_taker() -> None:
    started: list[int] = []
    results = in_order(started.append, range(100), 2)
    next(results)
    assert len(started) <= 5
    results.close()  # type: ignore[attr-defined]
