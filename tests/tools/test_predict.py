"""``trainer predict``: what a run's evaluation would say of each image, from wherever it comes."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import trainer
from pipeline.sources.loose import LooseImages
from tools.cli import main


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", ["square", "varied"])
def test_predicting_the_test_sets_images_gives_the_runs_accuracy(
    photographs: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Path = getattr(photographs, name)
    last = json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["metrics"]
    assert main(["predict", str(run), str(photographs.folder / "test"), "--device", "cpu"]) == 0
    files = rows(capsys.readouterr().out)
    right = [Path(row["image"]).parent.name == row["class"] for row in files]
    assert sum(right) / len(right) == last["accuracy"]
    assert main(["predict", str(run), str(photographs.data(run)), "--device", "cpu"]) == 0
    stored = rows(capsys.readouterr().out)
    assert [row["class"] for row in stored] == [row["class"] for row in files]
    assert [float(row["probability"]) for row in stored] == pytest.approx(
        [float(row["probability"]) for row in files], rel=1e-4
    )


def test_unreadable_images_are_named_and_the_rest_is_predicted(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photographs.test[1].read_bytes()[:60])
    red = str(photographs.folder / "test" / "red" / "*.jpg")
    words = [
        "predict",
        str(photographs.square),
        str(broken),
        red,
        str(tmp_path / "none.png"),
        "--device",
        "cpu",
    ]
    out = tmp_path / "p.jsonl"
    assert main([*words, "--out", str(out), "--top", "2", "--probabilities"]) == 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["image"] for line in lines] == sorted(
        str(path) for path in photographs.test if path.match("red/*.jpg")
    )
    for line in lines:
        assert sum(line["probabilities"].values()) == pytest.approx(1)
        best = max(line["probabilities"], key=line["probabilities"].__getitem__)
        assert line["predictions"][0] == {"class": best, "probability": line["probabilities"][best]}
        assert len(line["predictions"]) == 2
    said = capsys.readouterr().err
    assert f"left out: {broken} must be a whole image file" in said
    assert "none.png must be readable" in said
    assert "2 of 6 images can't be read" in said


def test_an_array_of_json_and_csv_of_every_probability(photographs: Any, tmp_path: Path) -> None:
    image = str(photographs.test[0])
    for ending in ("json", "csv"):
        words = ["--out", str(tmp_path / f"p.{ending}"), "--probabilities", "--device", "cpu"]
        assert main(["predict", str(photographs.varied), image, image, *words]) == 0
    found = json.loads((tmp_path / "p.json").read_text())
    assert [entry["image"] for entry in found] == [image, image]
    (first, _) = rows((tmp_path / "p.csv").read_text())
    assert float(first["p red"]) == pytest.approx(found[0]["probabilities"]["red"], rel=1e-4)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "predict needs images: files, folders, patterns or data sets; got none"),
        (("x.jpg", "--top", "0"), "top must be at least 1 class; got 0"),
        (("x.jpg", "--out", "p.txt"), "--out must end in .csv, .json, .jsonl; got p.txt"),
        (("nothing/*.jpg",), "a pattern must fit at least one image; nothing/*.jpg fits none"),
    ],
)
def test_a_mistake_is_one_line(
    photographs: Any, words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(photographs.square), *words]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_images_of_a_callers_own_are_predicted_alike(photographs: Any) -> None:
    model = trainer.load(photographs.varied, "cpu")
    path = photographs.test[0]
    by_path, by_image, by_array = (
        model.predict(image)[0].probabilities
        for image in (path, Image.open(path), LooseImages([path]).read(0))
    )
    assert by_path == by_image == by_array
    assert "3 classes: dark, light, red; 32x32 px, cpu" in repr(model)
    assert model.preprocess([path, path]).shape == (2, 3, 32, 32)


def test_memory_does_not_grow_with_the_number_of_images(photographs: Any) -> None:
    model = trainer.load(photographs.square, "cpu")

    def peak(images: int) -> int:
        source = LooseImages([str(photographs.test[0])] * images)
        tracemalloc.start()
        assert sum(1 for _ in model.predictions(source)) == images
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(16)
    assert peak(2048) < 2 * peak(512)
