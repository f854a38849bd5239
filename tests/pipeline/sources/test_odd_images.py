"""Images of every kind through a conversion, and our own shards read back as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import noise
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource, ImageFolder, open_source


def odd_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    colors = Image.fromarray(noise(0, 40, 90, 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    colors.convert("L").save(folder / "gray.jpg")
    colors.convert("RGBA").save(folder / "rgba.png")
    colors.convert("CMYK").save(folder / "cmyk.jpg")
    colors.convert("P").save(folder / "palette.png")
    colors.convert("P").save(folder / "palette.gif", transparency=3)
    colors.convert("1").save(folder / "bits.png")
    colors.save(folder / "turned.jpg", exif=turned)
    Image.fromarray(noise(1, 30, 40, 2).view(np.uint16)[..., 0]).save(folder / "deep.png")
    Image.fromarray(noise(2, 1, 1, 3)).save(folder / "one.png")
    Image.fromarray(noise(3, 1, 20_000, 3)).save(folder / "wide.png")
    Image.fromarray(noise(4, 9_000, 2, 3)).save(folder / "tall.jpg")


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize(
    "sizes", [{}, {"square": 32, "levels": (8,)}, {"max_resolution": 50, "levels": (1, 7)}]
)
def test_images_of_every_kind_are_converted(tmp_path: Path, encoding: Any, sizes: dict[str, Any]) -> None:
    odd_images(tmp_path / "set" / "a")
    source = ImageFolder(tmp_path / "set")
    assert len(source) == 11
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding=encoding, quality=100, **sizes))
    data = open_dataset(tmp_path / "x.beton")
    for index in range(len(source)):
        if not sizes:
            original = source.read(index)
            assert data.image(index).shape == original.shape
            if encoding == "raw" or source.encoded(index):
                np.testing.assert_array_equal(data.image(index), original)
            # Noise keeps its average color in a JPEG, and little else.
            np.testing.assert_allclose(data.image(index).mean((0, 1)), original.mean((0, 1)), atol=6)
        for level in data.levels:
            image = data.at(level).image(index)
            assert min(image.shape[:2]) == min(level, *data.image(index).shape[:2])


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_our_own_shards_become_a_beton_with_the_same_images_and_classes(
    tmp_path: Path, encoding: Any
) -> None:
    images = noise(0, 20, 30, 40, 3)
    source = ArraySource("x", "train", "x", ("ant", "bee", "cat"), np.arange(20) % 3, images)
    convert(source, tmp_path / "x.wds", ConvertOptions(encoding=encoding, levels=(8,)))
    shards = open_source(str(tmp_path / "x.wds"))
    convert(shards, tmp_path / "x.beton", ConvertOptions(encoding=encoding))
    one, other = open_dataset(tmp_path / "x.wds"), open_dataset(tmp_path / "x.beton")
    assert other.card.classes == ("ant", "bee", "cat")
    assert other.labels.tolist() == one.labels.tolist()
    for index in range(20):
        np.testing.assert_array_equal(one.image(index), other.image(index))
