"""A small transformer of timm's fine-tuned from a file of weights, from the images to its export."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import trainer
from tools.cli import main

timm = pytest.importorskip("timm")
safetensors = pytest.importorskip("safetensors.torch")

CLASSES = ("cat", "dog", "owl")
ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))
FORMS = ("safetensors", "onnx") if ONNX else ("safetensors",)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images whose classes have a color each, with a training and a test part."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for channel, name in enumerate(CLASSES):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3))
                pixels[..., channel] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_of_a_file_are_fine_tuned(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pretrained = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1, num_classes=10)
    safetensors.save_file(pretrained.state_dict(), "vit.safetensors")
    for split in ("train", "test"):
        assert main(["convert", str(photos), f"{split}.beton", "--split", split]) == 0
    data = ["--data", "train.beton", "--test-data", "test.beton", "--device", "cpu", "--precision", "fp32"]
    length = ["--epochs", "10", "--budget", "1", "--batch-size", "16", "--evaluate-every", "10"]
    length += ["--optimizer", "adamw", "--optimizer.lr", "0.001"]
    network = ["--model", "timm", "--model.name=vit_tiny_patch16_224", "--model.image-size", "32"]
    words = ["run", "fashion_mnist_cpu", *data, *length, *network, "--model.options", "depth=1"]
    assert main([*words, "--init-from", "vit.safetensors", "--name", "tuned"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "vit_tiny_patch16_224 on photos" in said
    assert "tensors from vit.safetensors" in said
    assert "the classifier of 10 outputs is left out" in said
    environment = json.loads(Path("runs/tuned/environment.json").read_text())
    assert len(environment["data_sha256"]["init_from"]) == 64
    last = json.loads(Path("runs/tuned/evaluations.jsonl").read_text().splitlines()[-1])
    assert last["metrics"]["accuracy"] > 0.9
    assert main(["evaluate", "runs/tuned", "photos", "--device", "cpu", "--json", "found.json"]) == 0
    assert json.loads(Path("found.json").read_text())["accuracy"] == last["metrics"]["accuracy"]
    assert main(["export", "runs/tuned", "--formats", *FORMS, "--out", "out"]) == 0
    capsys.readouterr()
    images = [f"photos/test/{name}/0.png" for name in CLASSES]
    told = []
    for from_there in ("runs/tuned", "out"):
        assert main(["predict", from_there, *images, "--device", "cpu"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    if "onnx" in FORMS:
        session = pytest.importorskip("onnxruntime").InferenceSession("out/model.onnx")
        model = trainer.load("runs/tuned", "cpu")
        shown = model.preprocess(images).contiguous()
        (logits,) = session.run(None, {"images": shown.numpy()})
        with torch.no_grad():
            assert np.abs(logits - model.network(shown).numpy()).max() < 1e-4
    assert main([*words, "--init-from", "runs/tuned", "--freeze", "backbone", "--name", "probe"]) == 0
    ledger = json.loads(Path("runs/probe/ledger.json").read_text())
    assert ledger["parameters"] == 192 * 3 + 3


def test_weights_of_another_network_end_a_run_before_it_begins(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    safetensors.save_file(timm.create_model("test_resnet").state_dict(), "other.safetensors")
    assert main(["convert", str(photos), "train.beton", "--split", "train"]) == 0
    capsys.readouterr()
    data = ["--data", "train.beton", "--test-data", "train.beton", "--device", "cpu"]
    words = ["run", "fashion_mnist_cpu", *data, "--batch-size", "16", "--name", "x"]
    assert main([*words, "--init-from", "other.safetensors"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "must be those of this network; other.safetensors has 0 of the" in said
    assert not Path("runs/x").exists()
