"""Sets of raw pixels and JPEGs that every engine reads, and what it has to give for them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline import ENGINES, EngineConfig, Reader
from pipeline.crop import Crop, Windows
from pipeline.formats import (
    FORMATS,
    Card,
    Converted,
    Format,
    Sample,
    StoredImage,
    WebDatasetFormat,
    open_dataset,
)

CPU = torch.device("cpu")
SAMPLES, HEIGHT, WIDTH = 37, 24, 18
STORES = [(ending, encoding) for ending in FORMATS for encoding in ("raw", "jpeg")]
every_engine = pytest.mark.parametrize("engine", [part() for part in ENGINES.values()], ids=list(ENGINES))
every_store = pytest.mark.parametrize("store", STORES, ids=["-".join(store) for store in STORES])


def smooth_images(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[NDArray[np.uint8]]:
    """Images such as a JPEG can hold well: a few colors run into each other."""
    rng = np.random.default_rng(count * height)
    coarse = rng.integers(0, 256, (count, 3, 3, 3), dtype=np.uint8)
    return [
        np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in coarse
    ]


def jpeg(image: NDArray[np.uint8], **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def format_in_parts(ending: str) -> Format:
    """The format, so that it keeps even a small set in several files where it can."""
    return WebDatasetFormat(shard_size=1 << 14) if ending == "wds" else FORMATS[ending]()


def write(path: Path, images: Sequence[NDArray[np.uint8]], contents: Sequence[bytes], encoding: str) -> Path:
    heights, widths = [image.shape[0] for image in images], [image.shape[1] for image in images]
    with format_in_parts(path.suffix[1:]).create(path, len(images)) as writer:
        for index, (image, content) in enumerate(zip(images, contents, strict=True)):
            full = StoredImage.of(content, image.shape[0], image.shape[1])
            writer.append(Sample([full], encoding == "jpeg", index % 5, f"class{index % 5}/{index:03}.jpg"))
        card = Card(
            name="test",
            split="train",
            samples=len(images),
            classes=tuple(f"class{k}" for k in range(5)),
            class_counts=tuple(len(range(k, len(images), 5)) for k in range(5)),
            height=heights[0] if len(set(heights)) == 1 else None,
            width=widths[0] if len(set(widths)) == 1 else None,
            min_height=min(heights),
            max_height=max(heights),
            min_width=min(widths),
            max_width=max(widths),
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            encoding="jpeg" if encoding == "jpeg" else "raw",
            quality=None,
            source="made by a test",
        )
        writer.publish(writer.finish(card))
    return path


def make(
    path: Path,
    encoding: str,
    images: Sequence[NDArray[np.uint8]] | None = None,
    damage: Callable[[bytes], bytes] | None = None,
) -> Path:
    """Write a set; ``damage`` is done to sample 11 before it is written, so that its checksum agrees."""
    images = smooth_images(SAMPLES) if images is None else images
    contents = [jpeg(image) if encoding == "jpeg" else image.tobytes() for image in images]
    if damage is not None:
        contents[11] = damage(contents[11])
    return write(path, images, contents, encoding)


def flip_byte(data: Converted, index: int) -> None:
    """Damage a sample on disk after it was written."""
    path = data.path if data.path.is_file() else sorted(data.path.glob("*.tar"))[data.shard[index]]
    with path.open("r+b") as file:
        file.seek(int(data.offsets[index] + data.sizes[index] // 2))
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x55]))


Closing = Callable[[Reader], Reader]


def expected(data: Converted, ids: Sequence[int] | NDArray[np.int64]) -> Tensor:
    pixels = (
        np.stack([data.image(int(index)) for index in ids]) if len(ids) else np.empty((0, HEIGHT, WIDTH, 3))
    )
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def assert_same(images: Tensor, data: Converted, ids: Sequence[int] | NDArray[np.int64]) -> None:
    """Bit for bit, whatever decodes them."""
    assert images.dtype == torch.uint8
    assert images.shape == (len(ids), 3, HEIGHT, WIDTH)
    assert torch.equal(images, expected(data, ids))


def stray_bytes(before: bytes) -> Callable[[bytes], bytes]:
    """Put two bytes that belong nowhere before a marker: libjpeg warns, and the picture is whole."""
    return lambda content: content.replace(before, b"\x12\x34" + before, 1)


def random_crop(data: Converted, ids: NDArray[np.int64], height: int, width: int) -> Crop:
    rng = np.random.default_rng(int(ids.sum()))
    sizes = [rng.integers(1, side[ids] + 1) for side in (data.heights, data.widths)]
    places = [
        rng.integers(0, side[ids] - size + 1)
        for side, size in zip((data.heights, data.widths), sizes, strict=True)
    ]
    return Crop(Windows(*places, *sizes, rng.random(len(ids)) < 0.5), height, width)  # type: ignore[arg-type, call-arg]


def whole(data: Converted, ids: NDArray[np.int64], height: int, width: int) -> Crop:
    zero = np.zeros(len(ids), np.int64)
    return Crop(Windows(zero, zero, data.heights[ids], data.widths[ids], zero > 0), height, width)


def by_pillow(data: Converted, ids: NDArray[np.int64], crop: Crop) -> NDArray[np.int64]:
    """Windows cut out of the whole image, resized and mirrored, as int64 so that they can be subtracted."""
    windows, done = crop.windows, []
    for place, index in enumerate(ids):
        top, left = windows.top[place], windows.left[place]
        image = data.image(int(index))[top : top + windows.height[place], left : left + windows.width[place]]
        small = Image.fromarray(image).resize((crop.width, crop.height), Image.Resampling.BILINEAR)
        done.append(np.asarray(small)[:, ::-1] if windows.flip[place] else np.asarray(small))
    return np.stack(done).astype(np.int64)


def by_engine(reader: Reader, ids: NDArray[np.int64], crop: Crop) -> NDArray[np.int64]:
    images = reader.read(ids, crop)
    assert images.dtype == torch.uint8
    assert images.shape == (len(ids), 3, crop.height, crop.width)
    assert images.is_contiguous(memory_format=torch.channels_last)
    return images.permute(0, 2, 3, 1).numpy().astype(np.int64)


def read_all(engine: EngineConfig, source: Path | Converted, height: int | None = None) -> Tensor:
    """All images, whole, or of each only the uppermost rows."""
    data = open_dataset(source) if isinstance(source, Path) else source
    reader = None
    ids = np.arange(len(data))
    zero = np.zeros(len(data), np.int64)
    crop = None if height is None else Crop(Windows(zero, zero, zero + height, data.widths, zero > 0), 4, 4)
    try:
        reader = engine.open(data, CPU)
        return reader.read(ids, crop)
    finally:
        if reader is not None:
            reader.close()
