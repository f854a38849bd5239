"""Images of one channel, of 8 and 16 bits: through both formats and every engine, cropped, augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loader_orders import Order
from numpy.typing import NDArray
from PIL import Image

from pipeline import Loader, compose
from pipeline.augment.center_crop import CenterCrop
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines import ENGINES
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import Converted, open_dataset
from pipeline.modes import Mode, resized
from pipeline.randomness import Keys
from pipeline.resolution import Stage
from pipeline.sources import open_source
from pipeline.sources.arrays import ArraySource

GRAY: tuple[Mode, ...] = ("L", "I;16")


def levels(mode: Mode, count: int = 12, side: int = 16) -> NDArray[Any]:
    kind = np.uint16 if mode == "I;16" else np.uint8
    high = 65536 if mode == "I;16" else 256
    return np.random.default_rng(0).integers(0, high, (count, side, side, 1), kind)


def made(path: Path, mode: Mode, images: NDArray[Any] | None = None, **options: Any) -> Converted:
    found = levels(mode) if images is None else images
    labels = np.arange(len(found)) % 3
    source = ArraySource("gray", "train", "drawn", ("a", "b", "c"), labels, found)
    convert(source, path, ConvertOptions(mode=mode, **options))
    return open_dataset(path)


@pytest.mark.parametrize("mode", GRAY)
@pytest.mark.parametrize(
    ("ending", "engine"),
    [*(("beton", engine) for engine in (None, *ENGINES)), ("wds", None), ("wds", "dali")],
)
def test_levels_come_back_as_they_were(tmp_path: Path, mode: Mode, ending: str, engine: str | None) -> None:
    data, images = made(tmp_path / f"x.{ending}", mode), levels(mode)
    assert (data.card.mode, data.card.channels) == (mode, 1)
    white = 65535 if mode == "I;16" else 255
    assert data.card.mean == pytest.approx([images.mean() / white])
    assert data.card.std == pytest.approx([images.std() / white])
    if engine is None:
        for index, image in enumerate(images):
            np.testing.assert_array_equal(data.image(index), image)
        return
    pytest.importorskip({"ffcv": "ffcv", "dali": "nvidia.dali"}.get(engine, "torch"))
    with Loader(data, engine=ENGINES[engine](), batch_size=12, device="cpu") as loader:
        (batch,) = loader.batches(Order(np.arange(12)))
        assert batch.images.dtype == (torch.uint16 if mode == "I;16" else torch.uint8)
        np.testing.assert_array_equal(batch.images.permute(0, 2, 3, 1).numpy(), images)
        # A crop of 3/4, and its normalization.
        plain = compose([CenterCrop(fraction=0.75)], data.card.mean, data.card.std)
        (cropped,) = loader.batches(Order(np.arange(12)), augment=plain, stage=Stage(8))
    inside = images[:, 2:14, 2:14]
    wanted = np.stack([resized(image, (8, 8), Image.Resampling.BILINEAR) for image in inside]).astype(int)
    found = cropped.images.permute(0, 2, 3, 1).numpy() * data.card.std[0] + data.card.mean[0]
    # Pillow rounds between the two directions, too.
    assert np.abs(found * white - wanted).max() < 1.6


@pytest.mark.parametrize("mode", GRAY)
@pytest.mark.parametrize("device_like", [False, True])
def test_augmentations_of_gray_images(tmp_path: Path, mode: Mode, device_like: bool) -> None:
    """Those by the engine, and those by the operations that a device crops with."""
    data = made(tmp_path / "x.beton", mode)
    parts = ["random_resized_crop"] if device_like else ["standard"]
    for more in (["ricap"], ["mixup"], ["cutmix"], ["cutout"]):
        augment = compose([*parts, *more], data.card.mean, data.card.std)
        with Loader(data, batch_size=12, device="cpu", augment=augment) as loader:
            (batch,) = loader.batches(Order(np.arange(12)))
        assert batch.images.shape == (12, 1, 16, 16)
        assert torch.isfinite(batch.images).all()
        assert batch.images.abs().max() < 4
    eager = compose(["random_resized_crop"], data.card.mean, data.card.std)
    keys_of = torch.from_numpy(levels(mode)).permute(0, 3, 1, 2)
    drawn = eager.draw(_keys(12), 16, 16)
    assert eager.transform(keys_of, drawn.to(torch.device("cpu"))[0]).abs().max() < 4


def _keys(count: int) -> Keys:
    return Keys(0, 0, 0, np.arange(count), np.zeros(count, np.int64))


def test_levels_of_eight_bits_are_augmented_and_those_of_sixteen_refused_in_one_line(tmp_path: Path) -> None:
    for mode in GRAY:
        data = made(tmp_path / f"{mode}.beton", mode)
        augment = compose(["randaugment", "standard", "ricap"], data.card.mean, data.card.std)
        with Loader(data, batch_size=12, device="cpu", augment=augment) as loader:
            if mode == "L":
                (batch,) = loader.batches(Order(np.arange(12)))
                assert batch.images.shape == (12, 1, 16, 16)
                continue
            with pytest.raises(
                DataError, match=r"and no rand_?augment, which computes with levels of 8"
            ) as told:
                next(iter(loader.batches(Order(np.arange(12)))))
            assert "\n" not in str(told.value)


def test_gray_jpegs_stay_gray_and_are_decoded_alike_by_every_engine(tmp_path: Path) -> None:
    images = np.stack([resized(image, (48, 48), Image.Resampling.BICUBIC) for image in levels("L")])
    data = made(tmp_path / "x.beton", "L", images, encoding="jpeg", levels=(24,))
    assert data.card.encoding == "jpeg"
    found = {}
    for engine in ENGINES:
        pytest.importorskip({"ffcv": "ffcv", "dali": "nvidia.dali"}.get(engine, "torch"))
        with Loader(data, engine=ENGINES[engine](), batch_size=12, device="cpu") as loader:
            (batch,) = loader.batches(Order(np.arange(12)))
        found[engine] = batch.images.numpy()
        assert batch.images.shape == (12, 1, 48, 48)
    for images_of in found.values():
        np.testing.assert_array_equal(images_of, found["resident"])
    assert data.at(24).image(0).shape == (24, 24, 1)


@pytest.mark.parametrize(("square", "mode"), [(8, "L"), (8, "I;16")])
def test_files_of_every_kind_are_kept_where_they_can_be(tmp_path: Path, square: int, mode: Mode) -> None:
    folder = tmp_path / "scans" / "a"
    folder.mkdir(parents=True)
    Image.fromarray(levels("I;16")[0, :, :, 0]).save(folder / "0.png")
    Image.fromarray(levels("I;16")[1, :, :, 0]).save(folder / "1.tif")
    if mode == "L":
        Image.fromarray(np.repeat(levels("L")[2], 3, axis=2)).save(folder / "2.png")
        Image.fromarray(levels("L")[3, :, :, 0]).save(folder / "3.jpg")
    source = open_source(str(tmp_path / "scans"))
    card = convert(source, tmp_path / "x.beton", ConvertOptions(mode=mode, square=square))
    assert (card.mode, card.height, card.samples) == (mode, square, 4 if mode == "L" else 2)
    Image.new("RGB", (16, 16)).save(folder / "4.png")
    if mode == "I;16":
        with pytest.raises(
            CorruptSampleError,
            match=r"4\.png must have one channel of 16 bits .* mode RGB: convert with --mode L",
        ):
            convert(open_source(str(tmp_path / "scans")), tmp_path / "y.beton", ConvertOptions(mode=mode))


def test_what_sixteen_bits_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be stored raw, as JPEGs have 8; got encoding jpeg"):
        ConvertOptions(mode="I;16", encoding="jpeg")
    with pytest.raises(DataError, match="mode must be one of RGB, L, I;16; got P"):
        ConvertOptions(mode="P")  # type: ignore[arg-type]


def test_ffcvs_own_loader_refuses_gray_sets(tmp_path: Path) -> None:
    """Its images are RGB: it would read three times as many bytes as there are."""
    reader = pytest.importorskip("ffcv.reader")
    made(tmp_path / "x.beton", "L")
    with pytest.raises(Exception, match="ustom"):
        reader.Reader(str(tmp_path / "x.beton"))
