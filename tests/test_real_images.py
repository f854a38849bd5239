"""From the files of Fashion-MNIST to a report, on real images, by the commands that a person types."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.sources import open_source
from pipeline.sources.torchvision import FashionMnist
from tools.cli import main

PACKAGE = FashionMnist().package


@pytest.mark.skipif(not PACKAGE.exists(), reason=f"Fashion-MNIST is not at {PACKAGE}")
def test_real_images_are_converted_and_learned(tmp_path: Path) -> None:
    arrays = {}
    for split, samples in (("train", 1280), ("test", 512)):
        source = open_source("fashion_mnist", split=split, data_dir=tmp_path / "none")
        arrays[f"{split}_images"] = np.stack([source.read(index) for index in range(samples)])
        arrays[f"{split}_labels"] = source.labels[:samples]
    np.savez(tmp_path / "clothes.npz", **arrays)  # type: ignore[arg-type]
    sets = []
    for split in ("train", "test"):
        sets.append(str(tmp_path / f"{split}.beton"))
        assert main(["convert", str(tmp_path / "clothes.npz"), sets[-1], "--split", split]) == 0
    where = ["--data", sets[0], "--test-data", sets[1], "--runs-dir", str(tmp_path), "--name", "run"]
    small = [
        "--epochs",
        "8",
        "--budget",
        "0.5",
        "--batch-size",
        "64",
        "--evaluate-every",
        "9",
        "--model.width",
        "8",
    ]
    assert main(["run", "fashion_mnist_cpu", "--device", "cpu", *where, *small]) == 0
    last = (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["metrics"]["accuracy"] > 0.5, last
    assert (tmp_path / "run" / "report.html").exists()
