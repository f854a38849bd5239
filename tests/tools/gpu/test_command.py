"""tools/gpu-check as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.arguments import UsageError
from tools.gpu.checks.cuda_tests import ROOT
from tools.gpu.command import GpuCheck
from tools.gpu.prepare import data_of, packages_of, prepare


def test_the_script_writes_a_folder(tmp_path: Path) -> None:
    words = ["--smoke", "--only", "machine", "--out", "checked"]
    environment = {**os.environ, "PYTHON": sys.executable}
    script = [str(ROOT / "tools" / "gpu-check"), *words]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "machine" in done.stdout
    out = tmp_path / "checked"
    assert {file.name for file in out.iterdir()} == {"index.html", "results.json", "console.log"}
    results = json.loads((out / "results.json").read_text())
    assert results["schema"] == 1
    assert results["command"] == f"tools/gpu-check {' '.join(words)}"
    assert list(results["sections"]) == ["machine"]
    assert results["sections"]["machine"]["facts"]["torch"]
    assert "No problem found in 1 section" in (out / "index.html").read_text()


def test_packages_that_are_missing_are_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    script = [str(ROOT / "tools" / "gpu-check"), "--smoke"]
    environment = {**os.environ, "PYTHON": str(bare)}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "can't import" in done.stderr
    assert "torch" in done.stderr
    assert "tools/setup" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"minutes": 0.0}, "--minutes must be above 0; got 0"),
        ({"only": ("machines",)}, "--only must be of machine, parity"),
        ({"data": Path("nowhere.beton")}, "--data must be there; nowhere.beton isn't"),
        ({"prepared": Path("nowhere")}, "--prepared must be there; nowhere isn't"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        GpuCheck(**options)  # type: ignore[arg-type]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="--prepare must name a new or an empty folder"):
        prepare(tmp_path, print)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_prepared_folder_has_packages_and_perhaps_data(tmp_path: Path) -> None:
    assert packages_of(tmp_path) == tmp_path / "packages"
    assert data_of(tmp_path) is None
    train = tmp_path / "cifar10" / "train.beton"
    train.parent.mkdir()
    train.write_bytes(b"x")
    assert data_of(tmp_path) == train
