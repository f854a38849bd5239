"""Images with any number of labels, and with values: convert, run, evaluate, predict and export."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trainer
from tools.cli import main

COLORS = ("red", "green", "blue")


@dataclass(frozen=True)
class Used:
    """A folder of images, a CSV of their labels and one of their values, and a run on each."""

    folder: Path

    def run(self, kind: str) -> Path:
        return self.folder / "runs" / kind

    def metrics(self, kind: str) -> Any:
        return json.loads((self.run(kind) / "evaluations.jsonl").read_text().splitlines()[-1])["metrics"]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    place = tmp_path_factory.mktemp("targets")
    rng = np.random.default_rng(0)
    rows: dict[str, list[list[object]]] = {"labels": [["image", "labels", "split"]]}
    rows["values"] = [["image", *COLORS, "split"]]
    for number in range(96):
        mean = rng.integers(20, 236, 3)
        pixels = np.clip(mean + rng.integers(-20, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
        split = "train" if number < 64 else "test"
        labels = ";".join(name for name, level in zip(COLORS, mean, strict=True) if level > 128)
        rows["labels"].append([f"{number}.png", labels, split])
        rows["values"].append([f"{number}.png", *(mean / 128 - 1).tolist(), split])
    for kind, method in (("labels", "multi_label"), ("values", "regression")):
        with (place / f"{kind}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows[kind])
        targets = {"labels": "multi_label", "values": "value"}[kind]
        for split in ("train", "test"):
            out = str(place / kind / f"{split}.beton")
            (place / kind).mkdir(exist_ok=True)
            words = ["convert", str(place / f"{kind}.csv"), out, "--split", split, "--targets", targets]
            assert main(words) == 0
        data = [
            "--data",
            str(place / kind / "train.beton"),
            "--runs-dir",
            str(place / "runs"),
            "--name",
            kind,
        ]
        network = ["--model", "resnet8", "--model.width", "4", "--precision", "fp32", "--device", "cpu"]
        length = ["--batch-size", "16", "--epochs", "10", "--budget", "1", "--threads", "1", "--keep-best"]
        parts = ["--augment", "none", "--method", method, "--evaluator", method]
        assert main(["run", "fashion_mnist_cpu", *data, *network, *length, *parts]) == 0
    return Used(place)


def evaluated(run: Path, data: Path, out: Path, *more: str) -> Any:
    assert main(["evaluate", str(run), str(data), "--device", "cpu", "--json", str(out), *more]) == 0
    return json.loads(out.read_text())


def test_labels_are_evaluated_as_the_run_did(
    used: Used, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, wanted = used.run("labels"), used.metrics("labels")
    stored = evaluated(
        run, used.folder / "labels" / "test.beton", tmp_path / "a.json", "--csv", f"{tmp_path}/c.csv"
    )
    assert stored["mean_average_precision"] == pytest.approx(wanted["mean_average_precision"])
    assert stored["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    assert "average precision" in capsys.readouterr().out
    listed = evaluated(
        run, used.folder / "labels.csv", tmp_path / "b.json", "--tta", "flip", "--threshold", ".9"
    )
    assert [row["images"] for row in listed["labels"]] == [row["images"] for row in stored["labels"]]
    before, after = (sum(row["predicted"] for row in one["labels"]) for one in (stored, listed))
    assert after < before
    rows = list(csv.DictReader(io.StringIO((tmp_path / "c.csv").read_text())))
    assert [row["label"] for row in rows] == sorted(COLORS)
    best = evaluated(run, used.folder / "labels.csv", tmp_path / "best.json", "--best")
    assert best["mean_average_precision"] >= stored["mean_average_precision"]


def test_values_are_evaluated_as_the_run_did(used: Used, tmp_path: Path) -> None:
    run, wanted = used.run("values"), used.metrics("values")
    words = ("--csv", f"{tmp_path}/c.csv", "--engine", "resident")
    found = evaluated(run, used.folder / "values" / "test.beton", tmp_path / "a.json", *words)
    for name in ("mean_absolute_error", "root_mean_squared_error"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-5)
    assert found["r2"] > 0.5
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "c.csv").read_text())))) == 3


@pytest.mark.parametrize("kind", ["labels", "values"])
def test_predictions_and_exports_agree_with_the_run(
    used: Used, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    run, images = used.run(kind), [str(used.folder / f"{number}.png") for number in (64, 70)]
    assert main(["export", str(run), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    told = []
    for network in (run, tmp_path / "out"):
        assert main(["predict", str(network), *images, "--device", "cpu"]) == 0
        told.append(list(csv.DictReader(io.StringIO(capsys.readouterr().out))))
    assert told[0] == told[1]
    model = trainer.load(tmp_path / "out", "cpu")
    with torch.no_grad():
        outputs = model.network(model.preprocess(images))
    first, card = model.predict(images)[0], (tmp_path / "out" / "README.md").read_text()
    if kind == "labels":
        p = outputs.sigmoid()[0].tolist()
        assert [float(told[0][0][f"p {name}"]) for name in model.classes] == pytest.approx(p, rel=1e-5)
        has = {name for name, probability in zip(model.classes, p, strict=True) if probability >= 0.5}
        assert set(first.labels or ()) == has == set(filter(None, told[0][0]["labels"].split(";")))
        assert "3 labels: blue, green, red" in repr(model)
        assert "tells which of 3 labels an image has" in card
    else:
        assert first.values == pytest.approx(outputs[0].tolist())
        assert [float(told[0][0][f"value_{n}"]) for n in (1, 2, 3)] == pytest.approx(
            outputs[0].tolist(), rel=1e-5
        )
        assert "predicts 3 values per image" in card
    stored = [
        "predict",
        str(run),
        str(used.folder / kind / "test.beton"),
        "--engine",
        "resident",
        "--device",
        "cpu",
    ]
    assert main(stored) == 0
    assert len(capsys.readouterr().out.splitlines()) == 33


@pytest.mark.parametrize(
    ("kind", "command", "words", "line"),
    [
        ("labels", "predict", ("0.png", "--top", "2"), "top is for networks of one class per image"),
        ("labels", "predict", ("0.png", "--threshold", "2"), "threshold must be a probability"),
        ("values", "predict", ("0.png", "--threshold", ".5"), "this one answers with 3 values per image"),
        ("values", "predict", ("0.png", "--probabilities"), "are for networks of classes"),
        (
            "values",
            "predict",
            ("0.png", "--engine", "ffcv"),
            "an engine reads converted data sets; 0.png is none",
        ),
        (
            "values",
            "evaluate",
            ("labels/test.beton",),
            "must have targets of kind value (3 values per image)",
        ),
        ("labels", "evaluate", ("other.csv",), "has 1 that are not: 'pink', and the network knows 'blue', "),
    ],
)
def test_a_mistake_is_one_line(
    used: Used,
    kind: str,
    command: str,
    words: tuple[str, ...],
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(used.folder)
    Path("other.csv").write_text("image,labels\n0.png,pink;red\n")
    capsys.readouterr()
    assert main([command, f"runs/{kind}", *words]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
