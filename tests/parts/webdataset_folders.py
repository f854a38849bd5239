"""WebDataset folders of seeded noise, written sample by sample."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from drawn_sets import Pixels, card_of
from PIL import Image

from pipeline.formats import Sample, StoredImage
from pipeline.formats.card import Card
from pipeline.formats.webdataset_writer import WebDatasetWriter

CLASSES = ("even", "odd")


def jpeg(image: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()


def decode(content: bytes) -> Pixels:
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def of_noise(images: Sequence[Pixels], levels: Sequence[int] = ()) -> Card:
    """Return the card of images that are even and odd in turn."""
    counts = dict(zip(CLASSES, (len(images[::2]), len(images[1::2])), strict=True))
    return card_of([image.shape for image in images], counts, levels=tuple(levels))


def stored(image: Pixels, compressed: bool) -> bytes:
    return jpeg(image) if compressed else image.tobytes()


def at_level(image: Pixels, level: int) -> Pixels:
    """Cut an image down to ``level`` pixels a side; one that is no larger stays as it is."""
    return image[: min(level, image.shape[0]), : min(level, image.shape[1])]


def sample(index: int, image: Pixels, compressed: bool, levels: Sequence[int] = ()) -> Sample:
    images = [image, *[at_level(image, level) for level in levels]]
    return Sample(
        [StoredImage.of(stored(one, compressed), *one.shape[:2]) for one in images],
        compressed,
        target=index % 2,
        name=f"{CLASSES[index % 2]}/{index:03}.img",
    )


def append(
    writer: WebDatasetWriter, index: int, image: Pixels, compressed: bool, levels: Sequence[int] = ()
) -> None:
    writer.append(sample(index, image, compressed, levels))


def write(
    path: Path,
    images: Sequence[Pixels],
    compressed: Callable[[int], bool] = lambda index: False,
    levels: Sequence[int] = (),
    shard_size: int = 1 << 28,
) -> Card:
    with WebDatasetWriter(path, len(images), levels=levels, shard_size=shard_size) as writer:
        for index, image in enumerate(images):
            append(writer, index, image, compressed(index), levels)
        card = writer.finish(of_noise(images, levels))
        writer.publish(card)
    return card


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x55]))
