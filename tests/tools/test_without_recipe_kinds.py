"""`trainer run` on lists of images, gray images and archives, without a recipe or a conversion before."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_files import noise
from PIL import Image

from pipeline.formats import open_dataset
from pipeline.sources.csv_list import kind_listed
from tools.cli import main

FAST = ("--device", "cpu", "--precision", "fp32", "--model.width", "4", "--epochs", "1", "--threads", "1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty-four small images in the folder ``images`` of the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUDGETRAIN_DATA", raising=False)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(24):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    return tmp_path


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function of the text printed since its last call, in one line."""

    def read() -> str:
        captured = capsys.readouterr()
        return " ".join((captured.out + captured.err).split())

    return read


def listed(name: str, columns: str, row: Callable[[int], str], split: bool = False) -> str:
    lines = [f"image,{columns}" + (",split" if split else "")]
    for index in range(24):
        part = f",{'test' if index % 4 == 0 else 'train'}" if split else ""
        lines.append(f"images/{index}.png,{row(index)}{part}")
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def test_labels_are_taken_from_a_list(here: Path, output: Callable[[], str]) -> None:
    listed("scenes.csv", "labels", lambda index: ("sky;sea", "sky", "", "sea;sand")[index % 4], split=True)
    assert main(["run", "scenes.csv", *FAST, "--name", "scenes"]) == 0
    printed = output()
    assert "targets: multi_label (scenes.csv has a column labels)" in printed
    assert "method: multi_label (the images have labels)" in printed
    assert len(open_dataset(Path("data/scenes/test.beton"))) == 6
    metrics = json.loads(Path("runs/scenes/evaluations.jsonl").read_text().splitlines()[-1])["metrics"]
    assert "mean_average_precision" in metrics
    assert main(["evaluate", "runs/scenes", "scenes.csv", "--device", "cpu", "--html", "page.html"]) == 0
    assert "Mean average precision" in Path("page.html").read_text()
    assert main(["run", "scenes.csv", *FAST, "--name", "scenes"]) == 0
    assert "This run is finished" in output()


def test_values_are_taken_from_a_list(here: Path, output: Callable[[], str]) -> None:
    listed("ages.csv", "age", lambda index: f"{index / 7:.3f}")
    assert main(["run", "ages.csv", *FAST, "--name", "ages"]) == 0
    printed = output()
    assert "targets: value (its column age holds numbers with fractions)" in printed
    assert "test_data: 20% of the images held out for validation" in printed
    assert "evaluator: regression" in printed


@pytest.mark.parametrize(
    ("columns", "row", "kind", "why"),
    [
        ("label", lambda index: str(index % 3), "class", "holds one of several in each row"),
        ("tags", lambda index: "a", "multi_label", "has a column tags"),
        ("label", lambda index: "a|b" if index else "a", "multi_label", "several names, separated by |"),
        ("sky,sea", lambda index: "0,1", "multi_label", "2 columns hold 0 and 1 alone"),
        ("x,y", lambda index: "0.5,7", "value", "2 columns hold numbers"),
        ("target", lambda index: "0.25", "value", "numbers with fractions"),
        ("value", lambda index: "3", "value", "has a column value"),
        ("label,who", lambda index: "1,me", "class", "its column label"),
        ("some,thing", lambda index: "a,b", "class", "none of its columns"),
    ],
)
def test_columns_say_which_targets_there_are(
    here: Path, columns: str, row: Callable[[int], str], kind: str, why: str
) -> None:
    found, reason = kind_listed(Path(listed("list.csv", columns, row)))
    assert found == kind
    assert why in reason


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_gray_images_are_recognized_and_kept(here: Path, output: Callable[[], str], mode: str) -> None:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("faint", "strong")):
        Path("scans", name).mkdir(parents=True)
        for index in range(12):
            levels = rng.integers(0, 90, (16, 16)) + 100 * label
            kind = np.uint8 if mode == "L" else np.uint16
            Image.fromarray(levels.astype(kind)).save(f"scans/{name}/{index}.png")
    assert main(["run", "scans", *FAST, "--name", "scans"]) == 0
    assert f"mode: {mode} (all images that were tried are gray" in output()
    assert open_dataset(Path("data/scans/train.beton")).card.mode == mode
    assert main(["predict", "runs/scans", "scans/faint/0.png", "--device", "cpu"]) == 0


def test_one_image_in_color_keeps_all_in_color(here: Path, output: Callable[[], str]) -> None:
    for name in ("a", "b"):
        Path("mixed", name).mkdir(parents=True)
        for index in range(8):
            image = Image.fromarray(noise(index, 16, 16, 3))
            gray = (name, index) != ("b", 3)
            (image.convert("L") if gray else image).save(f"mixed/{name}/{index}.png")
    assert main(["run", "mixed", *FAST]) == 0
    assert "mode: " not in output()
    assert open_dataset(Path("data/mixed/train.beton")).card.mode == "RGB"


def test_an_archive_is_run_evaluated_and_predicted(here: Path, output: Callable[[], str]) -> None:
    with zipfile.ZipFile("pets.zip", "w") as archive:
        for index in range(24):
            split = "test" if index % 4 == 0 else "train"
            archive.write(f"images/{index}.png", f"pets/{split}/{('cat', 'dog')[index // 12]}/{index}.png")
        archive.writestr("pets/test/cat/broken.png", b"no image")
    assert main(["run", "pets.zip", *FAST]) == 2
    assert "pets.zip/pets/test/cat/broken.png must be a whole image file" in output()
    with zipfile.ZipFile("good.zip", "w") as archive:
        for index in range(24):
            split = "test" if index % 4 == 0 else "train"
            archive.write(f"images/{index}.png", f"pets/{split}/{('cat', 'dog')[index // 12]}/{index}.png")
    assert main(["run", "good.zip", *FAST, "--name", "pets"]) == 0
    assert len(open_dataset(Path("data/good/test.beton"))) == 6
    assert main(["evaluate", "runs/pets", "good.zip", "--device", "cpu"]) == 0
    assert ": 6 images" in output()
    assert main(["predict", "runs/pets", "pets.zip", "--device", "cpu"]) == 1
    said = output()
    assert "pets.zip/pets/train/cat/1.png," in said
    assert "1 of 25 images can't be read" in said
    assert main(["predict", "runs/pets", "pets.zip", "--engine", "resident", "--device", "cpu"]) == 2
    assert "an engine reads converted data sets; pets.zip is none" in output()


def test_irreducible_losses_want_two_sets(here: Path, output: Callable[[], str]) -> None:
    listed("list.csv", "label", lambda index: str(index % 3))
    words = ["score", "list.csv", "--metric", "irreducible_loss", "--device", "cpu"]
    assert main(words) == 2
    assert "irreducible losses must be of another set than the network trains on; got list.csv" in output()


def test_too_few_images_are_one_line_before_a_conversion(here: Path, output: Callable[[], str]) -> None:
    for name, images in (("one/a", 3), ("lone/a", 1), ("lone/b", 1)):
        Path(name).mkdir(parents=True)
        for index in range(images):
            shutil.copy(f"images/{index}.png", f"{name}/{index}.png")
    for source, said in (
        ("one", "images to train on must be of at least 2 classes"),
        ("lone", "must hold two of a class, one to be held out; lone has 2"),
    ):
        assert main(["run", source, *FAST]) == 2
        assert said in output()
    assert not Path("data").exists()


def test_a_compressed_tar_is_one_line(here: Path, output: Callable[[], str]) -> None:
    with tarfile.open("pets.tar.gz", "w:gz") as tar:
        tar.add("images")
    for words in (["run", "pets.tar.gz", *FAST], ["convert", "pets.tar.gz", "x.beton"]):
        assert main(words) == 2
        assert "a tar must be uncompressed, as images are read where they lie in it" in output()
