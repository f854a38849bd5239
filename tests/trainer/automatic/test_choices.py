"""Choices for images without a recipe: functions of their card and the machine alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trainer.automatic.choices import CAP, Choice, choose, held_out, storage
from trainer.automatic.facts import Images, Machine, Wish
from trainer.errors import RunError
from trainer.recipe import from_table

GIB = 1 << 30
PHOTOS = Images(5_000, 12, "class", None, 480, 5_000 * 480 * 640)
ICONS = Images(60_000, 10, "class", (32, 32), 32, 60_000 * 32 * 32)
CPU = Machine(8 * GIB, engines=("resident", "ffcv"))
GPU = Machine(24 * GIB, "RTX", "bf16", compiles=True, engines=("resident", "ffcv"))


def values(choices: tuple[Choice, ...]) -> dict[str, Any]:
    """The settings by name; all of them make a run."""
    table = {choice.setting: choice.value for choice in choices}
    assert len(table) == len(choices)
    from_table(table, "choices")
    assert all(choice.reason and "\n" not in choice.reason for choice in choices)
    return table


def chosen(images: Images = PHOTOS, machine: Machine = CPU, **wish: Any) -> dict[str, Any]:
    return values(choose(images, machine, Wish(**wish)))


def test_sizes_choose_resolution_and_crops() -> None:
    assert chosen(ICONS)["resolution"] == "constant"
    assert chosen(ICONS)["augment"] == [{"name": "standard", "padding": 4}]
    assert chosen(PHOTOS)["resolution"]["pixels"] == 64
    assert chosen(PHOTOS, GPU)["resolution"]["pixels"] == 224
    assert chosen(replace(PHOTOS, shorter=100), GPU)["resolution"]["pixels"] == 96
    assert chosen(PHOTOS)["augment"][0]["name"] == "random_resized_crop"


def test_the_number_of_images_chooses_network_epochs_and_augmentation() -> None:
    few, many = chosen(PHOTOS, GPU), chosen(replace(PHOTOS, samples=200_000), GPU)
    assert (few["model"]["arch"], many["model"]["arch"]) == ("resnet18", "resnet50")
    assert few["epochs"] == 300 > many["epochs"] == 30
    assert few["augment"][1:] == ["trivialaugment_wide"]
    assert not many["augment"][1:]
    assert chosen(ICONS)["model"] == {"name": "resnet8"}
    assert chosen(replace(ICONS, outputs=100))["model"]["width"] == 32
    assert chosen(replace(PHOTOS, outputs=100), GPU)["model"]["arch"] == "resnet50"
    assert chosen(ICONS, GPU)["model"] == "resnet18"
    assert 25 <= few["epochs"] / few["evaluate_every"] <= 35


def test_memory_chooses_engine_and_batch() -> None:
    assert chosen(PHOTOS)["engine"] == "ffcv"
    assert chosen(PHOTOS, replace(CPU, memory=64 * GIB))["engine"] == "resident"
    assert chosen(PHOTOS, replace(CPU, engines=("resident",)))["engine"] == "resident"
    # A GPU holds images of one shape only.
    assert chosen(PHOTOS, replace(GPU, memory=640 * GIB))["engine"] == "ffcv"
    assert chosen(replace(PHOTOS, shape=(256, 256), pixels=256 * 256 * 5_000), GPU)["engine"] == "resident"
    batches = [chosen(PHOTOS, replace(GPU, memory=gib * GIB))["batch_size"] for gib in (4, 16, 80)]
    assert batches == [8, 32, 128]


@pytest.mark.parametrize("samples", [2, 9, 60, 127, 1000, 10**6])
def test_batches_fit_any_number_of_images(samples: int) -> None:
    batch = chosen(replace(PHOTOS, samples=samples))["batch_size"]
    assert 2 <= batch <= min(128, samples)


def test_hardware_chooses_precision_and_compilation() -> None:
    assert chosen(PHOTOS, replace(GPU, precision="fp16"))["precision"] == "fp16"
    assert chosen(PHOTOS, GPU)["precision"] == "auto"
    assert chosen(PHOTOS, GPU)["compile"] is True
    assert "compile" not in chosen(PHOTOS)


def test_choices_fit_fine_tuning() -> None:
    plain, tuned = chosen(PHOTOS, GPU), chosen(PHOTOS, GPU, network="vit", fine_tunes=True, pixels=384)
    assert tuned["optimizer"]["name"] == "adamw"
    assert tuned["optimizer"]["lr"] < plain["optimizer"]["lr"]
    assert tuned["epochs"] < plain["epochs"]
    assert tuned["resolution"]["pixels"] == 384
    assert "model" not in tuned
    normalized = chosen(PHOTOS, fine_tunes=True, normalization=((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))
    assert (normalized["mean"], normalized["std"]) == ([0.5] * 3, [0.2] * 3)
    probe = chosen(PHOTOS, fine_tunes=True, classifier=True)
    assert probe["optimizer"]["lr"] > tuned["optimizer"]["lr"]
    # Small images are cropped where the network wants another size.
    assert chosen(ICONS, network="vit", pixels=224)["augment"][0]["name"] == "random_resized_crop"


def test_hours_leave_the_length_open() -> None:
    assert not {"budget", "evaluate_every"} & chosen(hours=True).keys()


@pytest.mark.parametrize(("kind", "method"), [("multi_label", "multi_label"), ("value", "regression")])
def test_targets_choose_the_method(kind: Any, method: str) -> None:
    assert chosen(replace(PHOTOS, kind=kind))["method"] == method


def test_images_without_targets_are_refused() -> None:
    with pytest.raises(RunError, match="images to train on must have classes, labels or values"):
        chosen(replace(PHOTOS, kind="none"))


def test_stored_sizes() -> None:
    large, bare = [(3000, 4000), (4000, 3000)], replace(CPU, engines=("resident",))
    assert storage(large, 5_000, 0.1, CPU)[0].max_resolution == CAP
    assert storage([(32, 32)] * 2, 5_000, 0.1, CPU)[0].max_resolution is None
    assert storage([(200, 300)], 5_000, 0.1, CPU)[0].max_resolution is None
    assert storage(large, 5_000, 0.1, replace(GPU, engines=("resident",)))[0].square == 256
    options, reason = storage(large, 50_000, 0.1, bare)
    assert options.max_resolution is not None
    assert 3 * 0.75 * options.max_resolution**2 * 50_000 < 0.4 * bare.memory
    assert "FFCV" in reason
    assert options.validation == 0.1


def test_small_sets_hold_out_more() -> None:
    assert held_out(60) > held_out(6000)
