"""trainer convert: options, corrupt images, interrupts, mistakes."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import tyro
from rich.console import Console
from typed_commands import type_in

from pipeline.conversion import job as conversion
from pipeline.conversion.journal import journal_path
from pipeline.errors import DataError
from pipeline.formats import FORMATS, open_dataset
from pipeline.sources import SHARDED, SOURCES
from tools.cli import main
from tools.convert import Convert
from tools.inspect import Inspect
from tools.verify import Verify


def test_every_option_reaches_the_conversion(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    words = ("--split", "test", "--encoding", "jpeg", "--quality", "50", "--square", "16", "--workers", "1")
    assert type_in(Convert, folder, out, *words)[0] == 0
    card = open_dataset(out).card
    assert (card.split, card.encoding, card.quality, card.square, card.height) == ("test", "jpeg", 50, 16, 16)
    assert type_in(Convert, folder, out, "--max-resolution", "12", "--overwrite")[0] == 0
    card = open_dataset(out).card
    assert (card.split, card.encoding, card.max_resolution, card.width) == ("train", "raw", 12, 12)
    assert "longer side at most 12 pixels" in type_in(Inspect, out, "--sheet", tmp_path / "s.png")[1]
    assert (tmp_path / "s.png").exists()
    words = (  # type: ignore[assignment]
        "--encoding",
        "proportion",
        "--jpeg-share",
        "0.3",
        "--levels",
        "12, 8",
        "--seed",
        "1",
        "--overwrite",
    )
    assert type_in(Convert, folder, out, *words)[0] == 0
    data = open_dataset(out)
    assert (data.card.levels, data.card.jpeg_share, data.card.encoding) == ((8, 12), 0.3, "mixed")
    said = type_in(Inspect, out)[1]
    assert "mixed, quality 90, 30.0% JPEG at random, the rest raw" in said
    assert "also at shorter side at most 8, 12 pixels" in said
    assert type_in(Verify, out)[0] == 0


def test_corrupt_images_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    broken = folder / "train" / "dog [bold]" / "05.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"05\.png must be .*, or leave such images out by --skip-corrupt"):
        type_in(Convert, folder, out)
    status, said = type_in(Convert, folder, out, "--skip-corrupt")
    assert status == 0
    assert "left out: dog [bold]/05.png: " in said
    assert "corrupt images left out: 1, listed in" in said.replace("\n", " ")
    assert (tmp_path / "x.beton.skipped.txt").read_text().startswith("dog [bold]/05.png\t")
    assert open_dataset(out).card.samples == 29
    assert "1, listed in x.beton.skipped.txt" in type_in(Inspect, out)[1]


INTERRUPTING = """
import signal, threading
import numpy as np

class Photos:
    targets = [index % 2 for index in range(300)]
    journal, interrupted, heard = None, False, threading.Event()

    def __len__(self):
        return 300

    def __getitem__(self, index):
        main = threading.main_thread()
        if self.journal and index >= 64 and not self.interrupted and threading.current_thread() is not main:
            # Whatever thread gets its turn first: once something is noted, and no further until it is heard.
            while not (self.journal.exists() and self.journal.stat().st_size > 200):
                self.heard.wait(0.001)
            self.interrupted = True
            signal.pthread_kill(main.ident, signal.SIGINT)
            self.heard.wait()
        return np.full((20, 30, 3), index % 256, np.uint8), index % 2

photos = Photos()
"""


def test_an_interrupted_conversion_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "_SECONDS", 0.0)
    (tmp_path / "interrupting.py").write_text(INTERRUPTING)
    monkeypatch.syspath_prepend(tmp_path)
    out, said = tmp_path / "x.beton", io.StringIO()
    console = Console(file=said, width=100)
    photos = importlib.import_module("interrupting").photos
    photos.journal = journal_path(out)

    def hear(*_: object) -> None:
        photos.heard.set()
        raise KeyboardInterrupt

    # A shell lets what it starts in the background ignore Ctrl-C, these tests included.
    before = signal.signal(signal.SIGINT, hear)
    try:
        with pytest.raises(KeyboardInterrupt):
            tyro.cli(Convert, args=["interrupting:photos", str(out), "--workers", "1"]).execute(console)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the same command resumes from here" in said.getvalue()
    assert journal_path(out).exists()
    assert not out.exists()
    photos.journal = None
    assert type_in(Convert, "interrupting:photos", out)[0] == 0
    data = open_dataset(out)
    assert [data.image(index)[0, 0, 0] for index in range(300)] == [index % 256 for index in range(300)]


def test_the_help_tells_of_every_source_and_promise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["convert", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for text in (*SOURCES, *SHARDED, *(f".{ending}" for ending in FORMATS), ".npz", "MODULE:NAME", "resumes"):
        assert text in said


def test_a_named_source_is_read_from_the_data_directory(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "cifar10")
    assert type_in(Convert, "cifar10", tmp_path / "x.beton", "--data-dir", tmp_path)[0] == 0
    assert open_dataset(tmp_path / "x.beton").card.name == "cifar10"
    with pytest.raises(DataError, match="or give --download"):
        type_in(Convert, "cifar10", tmp_path / "y.beton", "--data-dir", tmp_path / "none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convert", "{}/none", "{}/x.beton"), "a source must be one of cifar10"),
        (("convert", "{}/pets", "{}/x.zip"), "must end in .beton or .wds; got"),
        (("convert", "{}/pets", "{}/x.beton", "--quality", "200"), "quality must be 1 to 100; got 200"),
        (("convert", "{}/pets", "{}/x.beton", "--encoding", "png"), "png"),
        (("convert", "{}/pets", "{}/x.beton", "--split", "val"), "holds: train, test; got val"),
        (
            ("convert", "{}/pets", "{}/x.beton", "--levels", "96,big"),
            "whole numbers between commas, as in 96,224",
        ),
        (
            ("convert", "{}/pets", "{}/x.beton", "--levels", "0"),
            "levels must be different sizes of at least 1",
        ),
        (
            ("convert", "{}/pets", "{}/x.beton", "--jpeg-fraction", "2"),
            "jpeg_fraction must be 0 to 1; got 2.0",
        ),
        (("convert", "{}/*.tar", "{}/x.beton"), "must be files that are there; got"),
        (
            ("convert", "{}/a-{{0..99999999999}}.tar", "{}/x.beton"),
            "at most 1,000,000 files; got {}/a-{{0..99999999999}}.tar, which are 100,000,000,000: mend the",
        ),
        (
            ("convert", "{}/{{0..999}}/{{1..2000}}.parquet", "{}/x.beton"),
            "at most 1,000,000 files; got {}/{{0..999}}/{{1..2000}}.parquet, which are 2,000,000: mend",
        ),
        (("convert", "{}/" + "9" * 300 + ".tar", "{}/x.beton"), "(File name too long): mend the path or its"),
        (
            ("convert", "{}/pets", "{}/x.beton", "--square", "1000000"),
            "square must be at most 16,384; got 1,000,0",
        ),
        (
            ("convert", "{}/pets", "{}/x.beton", "--levels", "1000000"),
            "levels must be at most 65,535 pixels; got",
        ),
        (
            ("convert", "{}/pets", "{}/x.beton", "--levels", "9" * 5000),
            "whole numbers between commas, as in 96",
        ),
        (
            ("verify", "{}/empty.beton", "--workers", "100000"),
            "workers must be at most 1,024; got 100,000: take",
        ),
        (("convert", "nowhere:data", "{}/x.beton"), "No module named 'nowhere'"),
        (("convert", "{}/pets", ""), "OUT must end in .beton or .wds; got '.': name one such as train.beton"),
        (("convert", "{}/pets", "{}/pets", "--overwrite"), "OUT must end in .beton or .wds; got"),
        (("inspect", "{}/none.beton", "--sheet", "{}/empty.beton"), "--sheet must end in .png; got"),
        (("inspect", "{}/none.beton"), "must exist; make it with `trainer convert"),
        (("verify", "{}/none.beton"), "must exist; make it with `trainer convert"),
        (("verify", "{}/pets/x.zip"), "must end in .beton or .wds; got"),
        (("verify", "{}/empty.beton", "--workers", "0"), "workers must be at least 1; got 0"),
        (
            ("verify", "{}/empty.beton"),
            "verify: {}/empty.beton must start with a header of 24 bytes; it has 0: g",
        ),
        (
            ("inspect", "{}/empty.beton"),
            "inspect: {}/empty.beton must start with a header of 24 bytes; it has 0: g",
        ),
        (("inspect", "{}/pets"), "must hold at least 1 sample in .tar files; it holds none: name the folder"),
        (("verify", "{}/empty.beton/x.beton"), "it can't be (Not a directory): mend its permissions, get it"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    words: Sequence[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.beton").touch()
    assert main([word.format(tmp_path) for word in words]) == 2
    said = capsys.readouterr().err
    assert message.format(tmp_path) in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.beton", "pets"]


def test_a_journal_needs_a_name_to_lie_beside() -> None:
    with pytest.raises(DataError, match=r"must have a name; got '\.': name one such as train\.beton"):
        journal_path(Path())


def test_the_data_directory_comes_from_the_environment(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "svhn")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from tools.cli import main; sys.exit(main())",
            "convert",
            "svhn",
            "x.beton",
        ],
        cwd=tmp_path,
        env=os.environ | {"BUDGETRAIN_DATA": ".", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert open_dataset(tmp_path / "x.beton").card.name == "svhn"
