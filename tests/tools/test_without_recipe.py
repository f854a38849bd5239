"""`trainer run` on images that have no recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.cli import main
from tools.without_recipe import recipe_text, said
from trainer import recipe
from trainer.automatic.choices import Choice
from trainer.config import Run
from trainer.models.resnet import ResNet8

CLASSES = ("cat", "dog", "owl")
FAST = ("--device", "cpu", "--precision", "fp32", "--model.width", "4", "--epochs", "2")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty images of several sizes, whose classes have a color each, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUDGETRAIN_DATA", raising=False)
    rng = np.random.default_rng(0)
    for channel, name in enumerate(CLASSES):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(20):
            height, width = rng.integers(40, 90, 2)
            pixels = rng.integers(0, 120, (height, width, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function of the text printed since its last call, in one line."""

    def read() -> str:
        captured = capsys.readouterr()
        return " ".join((captured.out + captured.err).split())

    return read


def test_a_folder_is_converted_and_trained_on_and_its_recipe_can_be_edited(
    photos: Path, output: Callable[[], str]
) -> None:
    assert main(["run", "photos", *FAST]) == 0
    printed = output()
    assert "20% of every class held out for validation, as there is no test set" in printed
    for line in (
        "stored size: as they are",
        "evaluated on what was held out",
        "resolution: constant, pixels",
        "engine: resident (decoded,",
        "batch_size: 8 (",
    ):
        assert line in printed
    # What an option took the place of was not chosen.
    assert "epochs: " not in printed
    [folder] = Path("runs").iterdir()
    assert json.loads((folder / "ledger.json").read_text())["trained"] == 2 * 48
    # The same command makes the same run, and so does the recipe until it is edited.
    kept = folder / "recipe.toml"
    for again in (["run", "photos", *FAST], ["run", str(kept)]):
        assert main(again) == 0
        printed = output()
        assert "This run is finished" in printed
        assert "converting" not in printed
    kept.write_text(kept.read_text().replace("epochs = 2.0", "epochs = 1.0"))
    assert main(["run", str(kept), "--name", "edited"]) == 0
    assert json.loads(Path("runs/edited/ledger.json").read_text())["trained"] == 48


def test_an_option_of_the_network_is_one_of_the_network_that_is_chosen(
    photos: Path, output: Callable[[], str]
) -> None:
    assert main(["run", "photos", *FAST, "--epochs", "1", "--name", "narrow"]) == 0
    assert "resnet8 on photos" in output()
    assert isinstance(recipe.load("runs/narrow/run.toml").model, ResNet8)


def test_images_that_changed_since_the_conversion_are_noticed(
    photos: Path, output: Callable[[], str]
) -> None:
    assert main(["run", "photos", *FAST, "--epochs", "1"]) == 0
    Image.new("RGB", (50, 50)).save(photos / "cat" / "new.png")
    output()
    assert main(["run", "photos", *FAST]) == 2
    assert "must hold the images of photos; it has 60 in 3 classes, and there are 61 in 3" in output()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["photographs"], "got 'photographs', and there is no such file"),
        (
            ["photos", "--data", "x.beton"],
            "--data names the images, and so does photos: leave one of them out",
        ),
        (["photos", "--optimiser", "sgd"], "perhaps you meant --optimizer"),
        (["runs/some"], "runs/some is the folder of a run: give runs/some/run.toml to run it again"),
    ],
)
def test_mistakes_are_told_in_a_line_before_a_conversion(
    photos: Path, output: Callable[[], str], words: list[str], line: str
) -> None:
    Path("runs/some").mkdir(parents=True)
    Path("runs/some/run.toml").touch()
    assert main(["run", *words]) == 2
    assert line in output()
    assert not Path("data").exists()


def test_several_processes_train_on_what_is_converted(
    photos: Path, output: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", "photos", *FAST]) == 2
    assert "images must be converted before several processes train on them" in output()


def test_help_converts_nothing(photos: Path, output: Callable[[], str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "photos", "--help"])
    assert "or images to choose one for" in output()
    assert not Path("data").exists()


def test_choices_fit_the_weights_that_a_network_begins_from(photos: Path, output: Callable[[], str]) -> None:
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    pretrained = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=10)
    safetensors.save_file(pretrained.state_dict(), "vit.safetensors")
    network = ["--model", "timm", "--model.name", "vit_tiny_patch16_224", "--model.image-size", "32"]
    words = ["run", "photos", *network, "--model.options", "depth=1", "--init-from", "vit.safetensors"]
    assert main([*words, "--device", "cpu", "--precision", "fp32", "--epochs", "1"]) == 0
    printed = output()
    assert "vit_tiny_patch16_224 is made for images of 32 px" in printed
    assert "optimizer: adamw, lr 0.0001" in printed
    assert "mean: 0.5 0.5 0.5 (as the images were" in printed
    assert "tensors from vit.safetensors" in printed


def test_a_recipe_is_written_whole_and_read_again(tmp_path: Path) -> None:
    run = recipe.load("cifar100_multiplied")
    path = tmp_path / "recipe.toml"
    choices = (Choice("epochs", run.epochs, "as many as that"), Choice("compile", False, "not on this"))
    path.write_text(recipe_text(run, choices, path))
    assert recipe.load(str(path)) == run
    assert "# as many as that\nepochs = " in path.read_text()
    assert recipe.load(str(path)) != Run()


def test_choices_are_said_in_words() -> None:
    assert (
        said({"name": "random_resized_crop", "scale": [0.35, 1.0]}) == "random_resized_crop, scale 0.35 to 1"
    )
