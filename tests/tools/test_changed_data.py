"""`trainer run` whose data set is truncated, or written anew, while it trains."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.bus_error import EXIT_STATUS
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource


def make(path: Path, seed: int, samples: int) -> Path:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (samples, 16, 16, 3), dtype=np.uint8)
    source = ArraySource("noise", path.stem, "seeded noise", ("a", "b"), np.arange(samples) % 2, images)
    convert(source, path, ConvertOptions(encoding="jpeg"))
    return path


@pytest.mark.parametrize("change", ["truncated", "written to"])
def test_a_run_whose_data_change_ends_with_one_line_and_a_status(change: str, tmp_path: Path) -> None:
    train, other = make(tmp_path / "train.beton", 0, 256), make(tmp_path / "other.beton", 1, 256)
    make(tmp_path / "test.beton", 2, 32)
    words = ["cifar10", f"--data={train}", "--engine=ffcv", "--model=resnet8", "--epochs=2000", "--budget=1"]
    words += ["--batch-size=32", "--device=cpu", f"--runs-dir={tmp_path / 'runs'}", "--name=x", "--threads=1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("round 2:"):
            break
    if change == "truncated":
        os.truncate(train, 0)
    else:
        shutil.copyfile(other, train)
    _, told = run.communicate(timeout=120)
    assert run.returncode == EXIT_STATUS, told
    (line,) = told.splitlines()
    assert str(train) in line
