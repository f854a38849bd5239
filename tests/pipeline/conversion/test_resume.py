"""Conversions that were stopped: the same command goes on, and gives the bytes of one that ran through."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from pipeline.conversion import job as conversion
from pipeline.conversion.convert import ConvertOptions, convert, skipped_path, validation_path
from pipeline.conversion.journal import Journal, journal_path
from pipeline.errors import CorruptSampleError, DataError, MachineError
from pipeline.formats import open_dataset
from pipeline.formats.verify import verify
from pipeline.formats.whole import partial_path
from pipeline.sources import ImageFolder

OPTIONS = ConvertOptions(encoding="proportion", validation=0.25, levels=(24,), max_resolution=50, seed=4)
IMAGES = 240

# Imports once, and forks a process for each conversion it is told of: importing takes longer than the rest.
# Where a function of the operating system's is named, the process kills itself at the n-th call of it, and
# where a size is, once its journal is larger, so that the kill falls where it is to fall on any machine.
CONVERTS = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
from pipeline.conversion import job as conversion
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.conversion.journal import journal_path
from pipeline.sources import ImageFolder

def work(folder, out, function, calls, size, changes):
    conversion._SECONDS = 0.0
    if function:
        module = Path if function in ("replace", "unlink") else os
        original = getattr(module, function)
        def counted(*arguments, **more):
            nonlocal calls
            calls -= 1
            if calls < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)
        setattr(module, function, counted)
    options = ConvertOptions(encoding="proportion", validation=0.25, levels=(24,), max_resolution=50, seed=4)
    def kill_itself(done, total):
        if size is not None and journal_path(Path(out)).stat().st_size > size:
            os.kill(os.getpid(), signal.SIGKILL)
    convert(ImageFolder(Path(folder)), Path(out), replace(options, **changes), kill_itself)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            work(*json.loads(line))
        except ValueError as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(2)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Converter:
    """Another process that converts."""

    def __init__(self, errors: IO[str]) -> None:
        self._errors = errors
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONVERTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def start(
        self,
        folder: Path,
        out: Path,
        function: str = "",
        calls: int = 0,
        size: int | None = None,
        changes: dict[str, object] | None = None,
    ) -> None:
        """Begin to convert."""
        assert self.process.stdin is not None
        asked = [str(folder), str(out), function, calls, size, changes or {}]
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def status(self) -> int:
        """Wait for the conversion's end, and give the exit status of its process."""
        return self._number()

    def said(self) -> str:
        """Give everything that was written to the standard error so far."""
        return Path(self._errors.name).read_text()

    def _number(self) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        return int(line)


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converter]:
    with (tmp_path_factory.mktemp("said") / "errors").open("w") as errors:
        started = Converter(errors)
        yield started
        with started.process as process:
            assert process.stdin is not None
            process.stdin.close()


def run(
    converter: Converter,
    folder: Path,
    out: Path,
    function: str = "",
    calls: int = 0,
    changes: dict[str, object] | None = None,
) -> int:
    converter.start(folder, out, function, calls, None, changes)
    return converter.status()


def run_until(converter: Converter, folder: Path, out: Path, size: int, **changes: object) -> int:
    """Convert until the journal has more than ``size`` bytes, when the process kills itself; its exit status.

    Killed from here, it may have ended before.
    """
    converter.start(folder, out, size=size, changes=changes)
    return converter.status()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes in three classes, some of them JPEGs."""
    root = tmp_path_factory.mktemp("source") / "set"
    for index in range(IMAGES):
        path = root / "abc"[index % 3] / f"{index:03}.{('png', 'jpg')[index % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (20 + index % 30, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a conversion that ran through, by name."""
    out = tmp_path_factory.mktemp("whole") / "x.beton"
    convert(ImageFolder(folder), out, OPTIONS)
    return contents(out.parent)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def go_on(folder: Path, out: Path, options: ConvertOptions = OPTIONS) -> int:
    """Convert in this process; give how many images were done before."""
    seen: list[int] = []
    convert(ImageFolder(folder), out, options, lambda done, total: seen.append(done))
    return seen[0] if seen[0] % 32 == 0 and seen[0] != 32 else 0


@pytest.fixture(scope="module")
def stopped(converter: Converter, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a conversion was killed after some images."""
    out = tmp_path_factory.mktemp("stopped") / "x.beton"
    assert run_until(converter, folder, out, 8_000, workers=1) == -signal.SIGKILL
    return out.parent


def copy(stopped: Path, target: Path) -> Path:
    shutil.copytree(stopped, target, dirs_exist_ok=True)
    return target / "x.beton"


# --------------------------------------------------------------------------------------------- the same bytes


def test_a_killed_conversion_goes_on_and_gives_the_same_bytes(
    folder: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out = copy(stopped, tmp_path / "copy")
    assert sorted(contents(out.parent)) == [
        ".x-validation.beton.partial", ".x.beton.journal", ".x.beton.partial"
    ]  # fmt: skip
    assert 0 < go_on(folder, out) < IMAGES
    assert contents(out.parent) == whole


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        ("replace", 0),  # before the validation set has its name
        ("replace", 1),  # before its card has
        ("replace", 2),  # before the main set has
        ("replace", 3),
        ("unlink", 4),  # before the journal goes
        ("fsync", 0),
        ("fsync", 1),
        ("fsync", 2),
        ("fsync", 5),
    ],
)
def test_a_kill_while_the_files_get_their_names_does_no_harm(
    converter: Converter, folder: Path, tmp_path: Path, whole: dict[str, bytes], function: str, calls: int
) -> None:
    out = tmp_path / "x.beton"
    assert run(converter, folder, out, function, calls) == -signal.SIGKILL
    assert journal_path(out).exists()
    go_on(folder, out)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(("function", "calls", "cards"), [("replace", 2, 1), ("unlink", 4, 2)])
def test_a_second_kill_after_files_were_taken_back_leaves_no_card_alone(
    converter: Converter,
    folder: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
    function: str,
    calls: int,
    cards: int,
) -> None:
    out = tmp_path / "x.beton"
    assert run(converter, folder, out, function, calls) == -signal.SIGKILL
    assert len(list(tmp_path.glob("x*.card.json"))) == cards
    assert run(converter, folder, out, "fsync", 0) == -signal.SIGKILL
    assert sorted(contents(tmp_path)) == [
        ".x-validation.beton.partial", ".x.beton.journal", ".x.beton.partial"
    ]  # fmt: skip
    go_on(folder, out)
    assert contents(tmp_path) == whole


def test_shards_go_on_as_well(converter: Converter, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.wds"
    convert(ImageFolder(folder), tmp_path / "whole" / "x.wds", OPTIONS)
    whole = contents(tmp_path / "whole")
    for number, (function, calls) in enumerate((("replace", 1), ("fsync", 3))):
        out = tmp_path / str(number) / "x.wds"
        out.parent.mkdir()
        assert run(converter, folder, out, function, calls) == -signal.SIGKILL
        go_on(folder, out)
        assert contents(out.parent) == whole
    out = tmp_path / "early" / "x.wds"
    out.parent.mkdir()
    assert run_until(converter, folder, out, 8_000, workers=1) == -signal.SIGKILL
    assert 0 < go_on(folder, out) < IMAGES
    assert contents(out.parent) == whole


def test_many_kills_in_a_row(
    converter: Converter, folder: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out, sizes = tmp_path / "x.beton", [0]
    while len(sizes) < 4 and run_until(converter, folder, out, sizes[-1], workers=1) == -signal.SIGKILL:
        sizes.append(journal_path(out).stat().st_size)
    assert len(sizes) >= 3
    assert sizes == sorted(set(sizes))
    if not out.exists():
        go_on(folder, out)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), MachineError("a disk failed")], ids=repr
)
def test_an_interrupt_or_a_fault_of_the_machine_is_gone_on_from(
    error: BaseException,
    folder: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "x.beton"

    def stop(done: int, total: int) -> None:
        if journal_path(out).stat().st_size > 5_000:
            raise error

    monkeypatch.setattr(conversion, "_SECONDS", 0.0)
    with pytest.raises(type(error)):
        convert(ImageFolder(folder), out, OPTIONS, stop)
    assert 0 < go_on(folder, out) < IMAGES
    assert contents(tmp_path) == whole


def test_an_older_set_stays_until_the_new_one_is_whole(
    converter: Converter, folder: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out = tmp_path / "x.beton"
    convert(ImageFolder(folder), out, replace(OPTIONS, quality=50))
    before = contents(tmp_path)
    assert run(converter, folder, out, "fsync", 0, {"overwrite": True}) == -signal.SIGKILL
    assert {name: content for name, content in contents(tmp_path).items() if name[0] != "."} == before
    with pytest.raises(DataError, match=r"must not be there already: give --overwrite"):
        convert(ImageFolder(folder), out, OPTIONS)
    go_on(folder, out, replace(OPTIONS, overwrite=True))
    assert contents(tmp_path) == whole


# --------------------------------------------------------------------------------------- when not to go on


@pytest.mark.parametrize(
    "change", [{"quality": 80}, {"seed": 5}, {"levels": (25,)}, {"encoding": "raw"}, {"jpeg_share": 0.6}]
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


# --------------------------------------------------------------------------------------------- corrupt images


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """The same images, of which numbers 100, 101 and 201 are cut short."""
    root = tmp_path / "damaged" / "set"
    shutil.copytree(folder, root)
    for number in (100, 101, 201):
        path = next(root.rglob(f"{number}.*"))
        path.write_bytes(path.read_bytes()[:-500])
    return root


def test_corrupt_images_are_left_out_and_listed_when_asked(damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "x.beton"
    card = convert(ImageFolder(damaged), out, replace(OPTIONS, skip_corrupt=True))
    held = open_dataset(validation_path(out))
    data = open_dataset(out)
    assert data.card == card
    assert card.samples + held.card.samples == IMAGES - 3
    assert card.skipped + held.card.skipped == 3
    lines = [
        line.split("\t")
        for path in (out, validation_path(out))
        if skipped_path(path).exists()
        for line in skipped_path(path).read_text().splitlines()
    ]
    assert sorted(name for name, _ in lines) == ["a/201.jpg", "b/100.png", "c/101.jpg"]
    assert all("can't be decoded" in fault for _, fault in lines)
    source = ImageFolder(damaged)
    places = {source.sample_name(index): index for index in range(IMAGES)}
    for view in (data, held):
        assert sum(view.card.class_counts) == len(view)
        for index in range(0, len(view), 9):
            place = places[view.name(index)]
            assert view.labels[index] == source.labels[place]
            if not view.compressed[index] and source.read(place).shape[1] <= 50:
                np.testing.assert_array_equal(view.image(index), source.read(place))
        assert verify(view.path).sound
    before = contents(out.parent)
    convert(ImageFolder(damaged), out, replace(OPTIONS, skip_corrupt=True, overwrite=True, workers=1))
    assert contents(out.parent) == before


def test_one_that_stopped_at_a_corrupt_image_goes_on_without_it(
    converter: Converter, damaged: Path, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "out" / "x.beton", tmp_path / "fresh" / "x.beton"
    assert run(converter, damaged, out) == 2
    line = converter.said().splitlines()[-1]
    assert "a/201.jpg" in line
    assert "must be a whole" in line
    assert "mend or remove it, or leave such images out by --skip-corrupt" in line
    with pytest.raises(CorruptSampleError):
        go_on(damaged, out)
    skipping = replace(OPTIONS, skip_corrupt=True)
    assert go_on(damaged, out, skipping) > 0
    convert(ImageFolder(damaged), fresh, skipping)
    assert contents(out.parent) == contents(fresh.parent)


def test_one_that_left_images_out_does_not_go_on_with_them(
    converter: Converter, damaged: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "x.beton"
    assert run(converter, damaged, out, "fsync", 1, {"skip_corrupt": True}) == -signal.SIGKILL
    with pytest.raises(CorruptSampleError, match=r"(201|100|101)\.\w+ .*must be a whole"):
        convert(ImageFolder(damaged), out, OPTIONS)
    assert not out.exists()


def test_a_list_of_an_earlier_set_does_not_stay(folder: Path, damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "x.beton"
    options = replace(OPTIONS, validation=0.0, skip_corrupt=True)
    convert(ImageFolder(damaged), out, options)
    assert skipped_path(out).exists()
    convert(ImageFolder(folder), out, replace(options, overwrite=True))
    assert not skipped_path(out).exists()


def test_a_source_that_is_all_corrupt_is_one_line(tmp_path: Path) -> None:
    for name in "ab":
        path = tmp_path / "set" / name / "x.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="must hold at least 1 image; all 2 images of image folder set"):
        convert(ImageFolder(tmp_path / "set"), tmp_path / "x.beton", ConvertOptions(skip_corrupt=True))
    assert sorted(contents_of_files(tmp_path)) == []


def contents_of_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]
