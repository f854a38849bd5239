"""Conversions that were killed: the same command goes on, and gives the bytes of one that ran through."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from killed_conversions import IMAGES, OPTIONS, Converter, contents, copy, go_on, run, run_until

from pipeline.conversion import job as conversion
from pipeline.conversion.convert import convert
from pipeline.conversion.journal import journal_path
from pipeline.errors import DataError, MachineError
from pipeline.sources import ImageFolder


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
