"""Outputs whose reader has gone, or whose disk is full: what a command leaves doesn't go with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forked import start_command
from PIL import Image

GONE = "note: output can't be written any more ({}); the command continues without it\n"


def unread(words: list[str]) -> tuple[int, str]:
    """Return the status and errors of a command whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return written_to(writer, words)


def written_to(output: int, words: list[str]) -> tuple[int, str]:
    """Return the status and errors of a command that prints to ``output``, which is closed.

    In a process of its own: it is as the interpreter ends that it writes what is left.
    """
    command = [sys.executable, "-m", "tools.cli", *words]
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    os.close(output)
    return done.returncode, done.stderr


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """A folder of two classes with a loose file, of which converting has a note to print at once."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        (tmp_path / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / "ab"[number % 2] / f"{number}.png")
    Image.fromarray(pixels[0]).save(tmp_path / "images" / "loose.png")
    return tmp_path / "images"


def test_a_conversion_that_nobody_watches_comes_to_its_end(loose: Path, tmp_path: Path) -> None:
    assert unread(["convert", str(loose), str(tmp_path / "a.beton")]) == (0, GONE.format("Broken pipe"))
    full = os.open("/dev/full", os.O_WRONLY)
    told = written_to(full, ["convert", str(loose), str(tmp_path / "b.beton")])
    assert told == (0, GONE.format("No space left on device"))
    assert (tmp_path / "a.beton").read_bytes() == (tmp_path / "b.beton").read_bytes()


def test_scores_that_nobody_watches_are_written(tiny: Callable[..., Path], tmp_path: Path) -> None:
    network = ("--model", "resnet8", "--model.width", "4", "--batch-size", "16", "--precision", "fp32")
    length = ("--epochs", "1", "--device", "cpu", "--out", str(tmp_path / "scores.npz"))
    places = ("--data", str(tiny()), "--runs-dir", str(tmp_path / "runs"))
    words = ["score", "fashion_mnist_cpu", *places, *network, *length]
    reader, writer = os.pipe()
    os.close(reader)
    with (tmp_path / "errors").open("w") as errors:
        scores = start_command(words, output=writer, errors=errors.fileno())
    os.close(writer)
    scores.join(600)
    assert (scores.exitcode, (tmp_path / "errors").read_text()) == (0, GONE.format("Broken pipe"))
    assert (tmp_path / "scores.npz").exists()


def test_a_sheet_is_written_beside_what_nobody_reads(tiny: Callable[..., Path]) -> None:
    path = tiny()
    assert unread(["inspect", str(path)]) == (0, "")
    assert path.with_name("train.beton.sheet.png").exists()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list", "samplers"], ["bench", "--help"]])
def test_what_is_only_printed_ends_quietly(words: list[str]) -> None:
    assert unread(words) == (0, "")


def test_help_without_room_is_one_line() -> None:
    status, told = written_to(os.open("/dev/full", os.O_WRONLY), ["--help"])
    assert status == 2
    assert told.count("\n") == 1
    assert told.startswith("trainer: a file must have room; its disk has none left")
