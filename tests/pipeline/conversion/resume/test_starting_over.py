"""Stopped conversions that aren't resumed: other options, other images, damage."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killed_conversions import OPTIONS, Converter, contents, copy, go_on, run
from PIL import Image

from pipeline.conversion.convert import convert, validation_path
from pipeline.conversion.journal import Journal, journal_path
from pipeline.errors import DataError
from pipeline.formats import open_dataset
from pipeline.formats.whole import partial_path
from pipeline.sources import ImageFolder


@pytest.mark.parametrize(
    "change", [{"quality": 80}, {"seed": 5}, {"levels": (25,)}, {"encoding": "raw"}, {"jpeg_fraction": 0.6}]
)
def test_other_options_start_anew(
    folder: Path, stopped: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    out = copy(stopped, tmp_path / "copy")
    options = replace(OPTIONS, **change)  # type: ignore[arg-type]
    assert go_on(folder, out, options) == 0
    convert(ImageFolder(folder), tmp_path / "fresh" / "x.beton", options)
    assert contents(out.parent) == contents(tmp_path / "fresh")


@pytest.mark.parametrize("change", ["workers", "overwrite", "skip_corrupt"])
def test_options_that_change_no_byte_go_on(
    folder: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes], change: str
) -> None:
    out = copy(stopped, tmp_path / "copy")
    assert go_on(folder, out, replace(OPTIONS, **{change: 1})) > 0  # type: ignore[arg-type]
    assert contents(out.parent) == whole


def test_without_a_validation_set_its_part_is_removed(folder: Path, stopped: Path, tmp_path: Path) -> None:
    out = copy(stopped, tmp_path / "copy")
    convert(ImageFolder(folder), out, replace(OPTIONS, validation=0.0))
    assert sorted(contents(out.parent)) == ["x.beton", "x.card.json"]


def test_a_changed_source_starts_anew(folder: Path, stopped: Path, tmp_path: Path) -> None:
    changed = tmp_path / "set"
    shutil.copytree(folder, changed)
    first = changed / "a" / "000.png"
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(first)
    out = copy(stopped, tmp_path / "copy")
    assert go_on(changed, out) == 0
    held = open_dataset(validation_path(out))
    places = {
        data.name(index): (data, index) for data in (open_dataset(out), held) for index in range(len(data))
    }
    data, index = places["a/000.png"]
    np.testing.assert_array_equal(data.image(index), 0)


def test_damage_to_what_was_written_costs_only_what_comes_after(
    folder: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    done = go_on(folder, copy(stopped, tmp_path / "sound"))
    for number, (name, cut) in enumerate(
        ((".x.beton.partial", 3_000_000), (".x.beton.partial", 0), (".x-validation.beton.partial", 9_000_000))
    ):
        out = copy(stopped, tmp_path / str(number))
        partial = out.parent / name
        os.truncate(partial, min(cut, partial.stat().st_size))
        assert go_on(folder, out) <= done
        assert contents(out.parent) == whole
    out = copy(stopped, tmp_path / "flipped")
    content = bytearray(partial_path(out).read_bytes())
    last = len(content.rstrip(b"\0")) - 1
    content[last] ^= 255
    partial_path(out).write_bytes(content)
    assert 0 < go_on(folder, out) <= done
    assert contents(out.parent) == whole


def test_an_older_set_is_not_built_upon_where_the_part_is_gone(
    folder: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out = copy(stopped, tmp_path / "copy")
    partial_path(out).unlink()
    out.write_bytes(b"mine")
    there: list[bytes] = []

    def look(done: int, total: int) -> None:
        there.append(out.read_bytes())

    convert(ImageFolder(folder), out, replace(OPTIONS, overwrite=True), look)
    assert set(there) == {b"mine"}
    assert contents(out.parent) == whole


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "none", "text"])
def test_a_damaged_journal_is_no_obstacle(
    folder: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes], damage: str
) -> None:
    out = copy(stopped, tmp_path / "copy")
    journal = journal_path(out)
    content = bytearray(journal.read_bytes())
    if damage == "cut":
        journal.write_bytes(content[:-3])
    elif damage == "flip":
        content[len(content) // 2] ^= 4
        journal.write_bytes(content)
    elif damage == "empty":
        journal.write_bytes(b"")
    elif damage == "text":
        journal.write_text("a journal of some other program")
    else:
        journal.unlink()
    go_on(folder, out)
    assert contents(out.parent) == whole


def test_an_older_file_is_not_taken_for_one_of_a_killed_conversion(
    converter: Converter, folder: Path, stopped: Path, tmp_path: Path
) -> None:
    out = copy(stopped, tmp_path / "copy")
    out.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"must not be there already: give --overwrite"):
        convert(ImageFolder(folder), out, OPTIONS)
    assert out.read_bytes() == b"mine"
    assert run(converter, folder, tmp_path / "x.beton", "replace", 1) == -signal.SIGKILL
    validation_path(tmp_path / "x.beton").write_bytes(b"mine as well")
    with pytest.raises(DataError, match=r"x-validation\.beton must not be there already"):
        convert(ImageFolder(folder), tmp_path / "x.beton", OPTIONS)
    assert validation_path(tmp_path / "x.beton").read_bytes() == b"mine as well"


def test_a_journal_holds_its_records_to_the_last_whole_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x", {"a": 1})
    journal.start()
    for number in range(5):
        journal.add({"number": number})
    journal.close()
    path = journal_path(tmp_path / "x")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = [record["number"] for record in Journal(tmp_path / "x", {"a": 1})]
        assert found == list(range(len(found)))
        assert len(found) < 5
    path.write_bytes(whole)
    assert len(Journal(tmp_path / "x", {"a": 2})) == 0
    again = Journal(tmp_path / "x", {"a": 1})
    again.keep(3)
    again.start()
    again.add({"number": 9})
    again.discard()
    path.write_bytes(whole)
    again = Journal(tmp_path / "x", {"a": 1})
    again.keep(2)
    again.start()
    again.add({"number": 9})
    again.close()
    assert [record["number"] for record in Journal(tmp_path / "x", {"a": 1})] == [0, 1, 9]
