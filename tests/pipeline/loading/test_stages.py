"""Images at the resolution asked for, from the loader to the augmented batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import Augmentation, DataError, Loader
from pipeline.augment import AUGMENTS, Augment
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import Converted, open_dataset
from pipeline.resolution import Stage
from pipeline.sources import ArraySource, ImageFolder
from samplers import Order

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """24 raw images of 20 x 30 pixels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 20, 30, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("wide") / "train.beton"
    source = ArraySource("wide", "train", "noise", ("a", "b"), np.arange(24) % 2, images)
    convert(source, path, ConvertOptions())
    return open_dataset(path)


@pytest.fixture(scope="module")
def photos(wide: Converted, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The same as JPEGs, which are worth a thread that reads ahead."""
    path = tmp_path_factory.mktemp("photos") / "train.beton"
    images = np.stack([wide.image(index) for index in range(len(wide))])
    source = ArraySource("photos", "train", "noise", ("a", "b"), wide.labels, images)
    convert(source, path, ConvertOptions(encoding="jpeg"))
    return open_dataset(path)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Raw images whose sizes differ."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(1)
    for index in range(12):
        shape = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
        place = folder / "images" / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(place / f"{index}.png")
    path = folder / "train.beton"
    convert(ImageFolder(folder / "images"), path, ConvertOptions(encoding="raw"))
    return open_dataset(path)


def _order(count: int) -> Order:
    return Order(round=0, ids=np.arange(count))


def _images(data: Converted, parts: list[Augment], stage: Stage | None) -> torch.Tensor:
    augmentation = Augmentation(parts, MEAN, STD)
    with Loader(data, augment=augmentation, batch_size=len(data), device="cpu") as loader:
        (batch,) = loader.batches(_order(len(data)), stage=stage)
        return batch.images


def test_whole_images_are_resized_as_pillow_does_before_the_augmentation(wide: Converted) -> None:
    ours = _images(wide, [], Stage(pixels=10))
    assert ours.shape == (24, 3, 10, 15)
    for index in (0, 7):
        small = Image.fromarray(wide.image(index)).resize((15, 10), Image.Resampling.BILINEAR)
        theirs = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
        theirs = (theirs - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        # One gray level is 1 / 255 / std.
        assert (ours[index] - theirs).abs().max() < 1.01 / 255 / min(STD)


def test_the_full_resolution_changes_nothing(wide: Converted) -> None:
    parts: list[Augment] = [AUGMENTS["standard"](), AUGMENTS["ricap"]()]
    assert torch.equal(_images(wide, parts, Stage(pixels=20)), _images(wide, parts, None))


@pytest.mark.parametrize("name", [name for name in AUGMENTS if name != "multi"])
def test_every_augmentation_works_at_any_resolution(wide: Converted, name: str) -> None:
    stage = Stage(pixels=14, magnitude=0.8, resolution=0.7)
    images = _images(wide, [AUGMENTS[name]()], stage)
    assert images.shape == (24, 3, 14, 21)
    assert torch.isfinite(images).all()


def test_a_crop_gives_the_resolution_itself(wide: Converted) -> None:
    crop = AUGMENTS["random_resized_crop"]()
    assert _images(wide, [crop], Stage(pixels=10)).shape == (24, 3, 10, 15)


def test_images_of_different_sizes_come_as_crops(mixed: Converted) -> None:
    crop = AUGMENTS["random_resized_crop"]()
    assert _images(mixed, [crop], Stage(pixels=16)).shape == (12, 3, 16, 16)
    with pytest.raises(DataError, match="begin the augmentation with random_resized_crop"):
        _images(mixed, [AUGMENTS["standard"]()], Stage(pixels=16))
    with pytest.raises(DataError, match="give a size or resolution"):
        _images(mixed, [crop], None)


def test_the_standard_crop_moves_by_less_at_a_lower_resolution(wide: Converted) -> None:
    standard = AUGMENTS["standard"]()
    augmentation = Augmentation([standard], MEAN, STD)
    with Loader(wide, augment=augmentation, batch_size=24, device="cpu") as loader:
        stage = Stage(pixels=10, resolution=0.5)
        reach = [
            int((raw.views[0].draws[-1]["top"] - 4).abs().max())
            for _ in range(3)
            for raw in loader.raw_batches(_order(24), stage=stage)
        ]
    assert max(reach) == 2


def test_a_sample_read_again_is_the_same_crop_at_another_resolution(wide: Converted) -> None:
    augmentation = Augmentation([AUGMENTS["random_resized_crop"]()], MEAN, STD)
    with Loader(wide, augment=augmentation, batch_size=24, device="cpu") as loader:
        order = Order(round=3, ids=np.array([5, 5, 2, 9, 5, 1]))
        (raw,) = loader.raw_batches(order, stage=Stage(pixels=10))
        indices = np.array([4, 0, 3])
        again = loader.reread(raw, indices, Stage(pixels=20))
        (whole,) = loader.batches(order, stage=Stage(pixels=20))
    assert again.ids.tolist() == [5, 5, 9]
    images = again.augment().images
    assert torch.equal(images, whole.images[indices])
    assert not torch.equal(images[0], images[1])
