"""Gray images of 16 bits and of 8: convert, run, evaluate, predict and export, all of one channel."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trainer
from tools.cli import main

CLASSES = ("faint", "strong")
ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNGs of 16 bits whose classes differ by half a level of 8 bits."""
    place = tmp_path_factory.mktemp("gray")
    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 8)):
        for label, name in enumerate(CLASSES):
            folder = place / "scans" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                levels = rng.integers(0, 120, (16, 16)) + 130 * label
                Image.fromarray(levels.astype(np.uint16)).save(folder / f"{index}.png")
    return place


def trained(scans: Path, mode: str, *more: str) -> Path:
    data, run = scans / mode, scans / "runs" / mode
    if not run.exists():
        for split in ("train", "test"):
            words = ["convert", str(scans / "scans"), str(data / f"{split}.beton"), "--split", split]
            data.mkdir(exist_ok=True)
            assert main([*words, "--mode", mode]) == 0
        words = ["run", "fashion_mnist_cpu", "--data", str(data / "train.beton"), "--name", mode]
        words += [
            "--runs-dir",
            str(scans / "runs"),
            "--device",
            "cpu",
            "--precision",
            "fp32",
            "--threads",
            "1",
        ]
        words += ["--model", "resnet8", "--model.width", "4", "--augment", "standard", "ricap"]
        assert main([*words, "--batch-size", "16", "--epochs", "12", "--budget", "1", *more]) == 0
    return run


def last(run: Path) -> Any:
    return json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["metrics"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_on_sixteen_bits_is_used_end_to_end(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    run = trained(scans, "I;16")
    assert last(run)["accuracy"] == 1.0
    for data in (str(scans / "I;16" / "test.beton"), str(scans / "scans")):
        assert main(["evaluate", str(run), data, "--device", "cpu", "--json", f"{tmp_path}/x.json"]) == 0
        found = json.loads((tmp_path / "x.json").read_text())
        assert (found["images"], found["accuracy"]) == (16, 1.0)
        assert found["loss"] == pytest.approx(last(run)["loss"], rel=1e-5)
    forms = ["safetensors", *(["onnx"] if ONNX else [])]
    assert main(["export", str(run), "--formats", *forms, "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    broken, color = tmp_path / "broken.png", tmp_path / "color.png"
    broken.write_bytes(b"PNG")
    Image.new("RGB", (16, 16)).save(color)
    images = [str(scans / "scans" / "test" / name / "0.png") for name in CLASSES]
    assert main(["predict", str(tmp_path / "out"), *images, str(broken), str(color), "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert [row["class"] for row in csv.DictReader(io.StringIO(said.out))] == list(CLASSES)
    assert f"left out: {broken} must be a whole image file" in said.err
    assert f"left out: {color} must have one channel of 16 bits to be kept in mode I;16" in said.err
    model = trainer.load(tmp_path / "out", "cpu")
    assert model.preprocess(images).shape == (2, 1, 16, 16)
    if ONNX:
        import onnxruntime

        session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
        (found,) = session.run(None, {"images": model.preprocess(images).contiguous().numpy()})
        with torch.no_grad():
            assert np.abs(found - model.network(model.preprocess(images)).numpy()).max() < 1e-4
    card = (tmp_path / "out" / "README.md").read_text()
    assert "one channel of gray, of 16 bits" in card
    assert "Divide by 65535" in card


def test_weights_of_three_channels_begin_a_run_of_one_and_not_the_other_way(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    color = trained(scans, "RGB")
    gray = trained(scans, "L", "--init-from", str(color))
    assert "tensors from" in " ".join(capsys.readouterr().out.split())
    assert (
        json.loads((gray / "ledger.json").read_text())["parameters"]
        < json.loads((color / "ledger.json").read_text())["parameters"]
    )
    words = ["run", str(color / "run.toml"), "--name", "x", "--init-from", str(gray)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "is of images of one, and this run's have three: convert them with --mode L" in said
    assert said.count("\n") == 1


def test_sets_of_two_modes_are_one_line(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    color, wide = trained(scans, "RGB"), trained(scans, "I;16")
    capsys.readouterr()
    test = ["--test-data", str(scans / "RGB" / "test.beton")]
    assert main(["run", str(wide / "run.toml"), "--name", "x", *test]) == 2
    assert "a run's sets must have images of one mode" in capsys.readouterr().err
    assert main(["evaluate", str(color), str(scans / "I;16" / "test.beton")]) == 2
    assert "images must have the mode that the network was trained with, RGB" in capsys.readouterr().err
    assert main(["run", str(wide / "run.toml"), "--name", "x", "--augment", "randaugment"]) == 2
    said = capsys.readouterr().err
    assert "images of 16 bits take crops, flips, cutout and mixing, and no randaugment" in said
    assert said.count("\n") == 1
    assert main(["run", str(wide / "run.toml"), "--name", "x", "--mean", "0.5", "0.5", "0.5"]) == 2
    assert "mean must hold one value per channel; got 3" in capsys.readouterr().err
