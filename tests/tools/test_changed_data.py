"""`trainer run` whose data set is truncated, or written again, while it trains."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from forked import start_command, wait_for

from pipeline.bus_error import EXIT_STATUS
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from tools.cli import main


def make(path: Path, seed: int, samples: int) -> Path:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (samples, 16, 16, 3), dtype=np.uint8)
    source = ArraySource("noise", path.stem, "seeded noise", ("a", "b"), np.arange(samples) % 2, images)
    convert(source, path, ConvertOptions(encoding="jpeg"))
    return path


def words(folder: Path) -> list[str]:
    """Make the sets, and the command line of an endless run on them."""
    train = make(folder / "train.beton", 0, 64)
    make(folder / "test.beton", 2, 16)
    places = [f"--data={train}", f"--runs-dir={folder / 'runs'}", "--name=x", "--engine=ffcv", "--device=cpu"]
    length = ["--epochs=100000", "--budget=1", "--batch-size=16", "--threads=1", "--log-every=1"]
    return ["run", "cifar10", *places, *length, "--model=resnet8", "--model.width=4"]


def trains(folder: Path) -> bool:
    """Whether the second round is under way."""
    log = folder / "runs" / "x" / "evaluations.jsonl"
    return log.exists() and bool(log.read_bytes())


def test_a_run_whose_data_are_truncated_ends_with_one_line_and_a_status(tmp_path: Path) -> None:
    """In a process of its own, which a bus error may end."""
    with (tmp_path / "errors").open("w") as errors:
        run = start_command(words(tmp_path), errors=errors.fileno())
    assert wait_for(run, lambda: trains(tmp_path))
    os.truncate(tmp_path / "train.beton", 0)
    run.join(600)
    told = (tmp_path / "errors").read_text()
    assert run.exitcode == EXIT_STATUS, told
    (line,) = told.splitlines()
    assert str(tmp_path / "train.beton") in line


def test_a_run_whose_data_are_written_to_ends_with_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other, ended = words(tmp_path), make(tmp_path / "other.beton", 1, 64), threading.Event()

    def write() -> None:
        while not trains(tmp_path):
            if ended.wait(0.01):
                return
        # In place: to truncate it first would be a bus error, which ends this process.
        with (tmp_path / "train.beton").open("r+b") as file:
            file.write(other.read_bytes()[: (tmp_path / "train.beton").stat().st_size])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        status = main(run)
    finally:
        ended.set()
        writer.join()
    assert status == EXIT_STATUS
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "train.beton") in line
