"""What every engine keeps to, on raw pixels and on JPEGs, in every format."""

from __future__ import annotations

import io
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline import ENGINES, CorruptSampleError, DataError, EngineConfig, Loader, MissingExtraError, Reader
from pipeline.crop import Crop, Windows
from pipeline.engines.resident import ResidentReader, decode_there
from pipeline.engines.stored import StoredSamples
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


@dataclass(frozen=True)
class Order:
    ids: NDArray[np.int64]
    round: int = 0
    weights: NDArray[np.float32] | None = None


def smooth_images(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[NDArray[np.uint8]]:
    """Images such as a JPEG can hold well: a few colours run into each other."""
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


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Converted]:
    folder = tmp_path_factory.mktemp("engines")
    return {
        (ending, encoding): open_dataset(make(folder / f"{encoding}.{ending}", encoding))
        for ending, encoding in STORES
    }


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


Closing = Callable[[Reader], Reader]


@pytest.fixture
def closing(no_thread_left: None) -> Iterator[Closing]:
    """Close at the end of a test, whatever becomes of it."""
    with ExitStack() as stack:

        def close(reader: Reader) -> Reader:
            stack.callback(reader.close)
            return reader

        yield close


@pytest.fixture
def opened(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> Iterator[tuple[Converted, Reader]]:
    reader = engine.open(data[store], CPU)
    yield data[store], reader
    reader.close()


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


@every_engine
@every_store
@pytest.mark.parametrize(
    "ids",
    [
        np.arange(SAMPLES),
        np.arange(SAMPLES)[::-1].copy(),
        np.array([5, 5, 5, 0, 36, 5]),
        np.random.default_rng(0).integers(0, SAMPLES, 200),
        np.array([7]),
        np.array([], dtype=np.int64),
    ],
    ids=["all", "backwards", "duplicates", "longer than the set", "one", "none"],
)
def test_gives_what_is_asked_for(opened: tuple[Converted, Reader], ids: NDArray[np.int64]) -> None:
    data, reader = opened
    images = reader.read(ids)
    assert_same(images, data, ids)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (reader.height, reader.width) == (HEIGHT, WIDTH)


@every_engine
@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_every_kind_are_decoded_as_by_pillow(
    engine: EngineConfig, quality: int, subsampling: int, progressive: bool, tmp_path: Path
) -> None:
    images = smooth_images(8, 33, 47)
    rng = np.random.default_rng(0)
    noisy = [np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8) for image in images]
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    contents = [jpeg(image, **options) for image in noisy]
    path = write(tmp_path / "set.beton", noisy, contents, "jpeg")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in contents])
    assert torch.equal(read_all(engine, path), torch.from_numpy(pixels).permute(0, 3, 1, 2))


@every_engine
def test_a_grey_jpeg_becomes_rgb(engine: EngineConfig, tmp_path: Path) -> None:
    images = smooth_images(3)
    contents = [jpeg(np.asarray(Image.fromarray(image).convert("L"))) for image in images]
    pixels = read_all(engine, write(tmp_path / "set.beton", images, contents, "jpeg"))
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    assert (pixels[0, 0].numpy() == np.asarray(Image.open(io.BytesIO(contents[0])))).all()


@every_engine
@every_store
@pytest.mark.parametrize("wrong", [SAMPLES, -1, 2**40])
def test_an_id_out_of_range_is_an_error(opened: tuple[Converted, Reader], wrong: int) -> None:
    _, reader = opened
    with pytest.raises(DataError, match=rf"one of the {SAMPLES} samples .* got {wrong:,}"):
        reader.read(np.array([0, wrong]))
    reader.read(np.array([0]))


@every_engine
@every_store
def test_a_batch_stays_as_it_is(opened: tuple[Converted, Reader]) -> None:
    _, reader = opened
    ids = np.random.default_rng(2).integers(0, SAMPLES, (60, 16))
    kept = [reader.read(row) for row in ids]
    copies = [images.clone() for images in kept]
    kept[3].zero_()
    again = reader.read(ids[3])
    for index, (images, copy) in enumerate(zip(kept, copies, strict=True)):
        assert index == 3 or torch.equal(images, copy)
    assert torch.equal(again, copies[3])


@every_engine
@every_store
def test_several_threads_may_read(opened: tuple[Converted, Reader]) -> None:
    data, reader = opened
    results: dict[int, Tensor] = {}

    def work(number: int) -> None:
        for _ in range(20):
            results[number] = reader.read(np.arange(number, SAMPLES))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, images in results.items():
        assert_same(images, data, np.arange(number, SAMPLES))


@every_engine
@every_store
def test_bytes_that_changed_on_disk_are_an_error(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / f"set.{store[0]}", store[1])
    flip_byte(open_dataset(path), 11)
    with pytest.raises(CorruptSampleError, match=r"set.*: sample 11 \(class1/011.jpg\)"):
        read_all(engine, path)


@every_engine
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-2],
        lambda content: content[:2],
        lambda content: content[:-40] + bytes(40),
        lambda content: jpeg(smooth_images(1, HEIGHT // 2, WIDTH)[0]),
        lambda content: jpeg(smooth_images(1, HEIGHT * 2, WIDTH * 2)[0]),
        lambda content: b"not a JPEG",
    ],
    ids=["half", "without its end", "two bytes", "zeros at the end", "smaller", "larger", "no JPEG"],
)
def test_a_jpeg_that_was_broken_when_written_is_an_error(
    engine: EngineConfig, damage: Callable[[bytes], bytes], tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / "set.beton", "jpeg", damage=damage)
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, path)


def stray_bytes(before: bytes) -> Callable[[bytes], bytes]:
    """Put two bytes that belong nowhere before a marker: libjpeg warns, and the picture is whole."""
    return lambda content: content.replace(before, b"\x12\x34" + before, 1)


@every_engine
@pytest.mark.parametrize("marker", [b"\xff\xc0", b"\xff\xc4", b"\xff\xd9"], ids=["frame", "tables", "end"])
def test_an_odd_jpeg_that_its_checksum_vouches_for_is_read(
    engine: EngineConfig, marker: bytes, tmp_path: Path
) -> None:
    path = make(tmp_path / "set.beton", "jpeg", damage=stray_bytes(marker))
    assert_same(read_all(engine, path), open_dataset(path), np.arange(SAMPLES))


@every_engine
def test_a_truncated_jpeg_without_a_checksum_is_an_error(engine: EngineConfig, tmp_path: Path) -> None:
    """As in files that FFCV itself wrote."""
    path = make(tmp_path / "set.beton", "jpeg", damage=lambda content: content[: len(content) // 2])
    data = open_dataset(path)
    data.checksums = None
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data)


# --- Images of several shapes --------------------------------------------------------------------------


def shapes(count: int) -> list[NDArray[np.uint8]]:
    """Images of any shape, a single pixel and long strips among them."""
    rng = np.random.default_rng(count)
    sizes = [(1, 1), (1, 90), (200, 3), *rng.integers(2, 120, (count - 3, 2)).tolist()]
    return [smooth_images(1, height, width)[0] for height, width in sizes]


@every_engine
@every_store
def test_images_of_several_shapes_come_as_crops_only(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, closing: Closing
) -> None:
    images = [*smooth_images(3), *smooth_images(2, HEIGHT + 1, WIDTH)]
    data = open_dataset(make(tmp_path / f"set.{store[0]}", store[1], images))
    reader = closing(engine.open(data, CPU))
    assert (reader.height, reader.width, reader.crops) == (None, None, True)
    with pytest.raises(
        DataError,
        match="from 24x18 to 25x18: begin the augmentation with random_resized_crop or center_crop, "
        "or convert with --square",
    ):
        reader.read(np.array([0]))
    assert reader.read(np.array([4, 0]), whole(data, np.array([4, 0]), 8, 9)).shape == (2, 3, 8, 9)


@every_engine
@every_store
def test_crops_of_any_shape_are_as_pillows(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, closing: Closing
) -> None:
    """Those of JPEGs may come from a smaller decode, where that has pixels enough."""
    data = open_dataset(make(tmp_path / f"set.{store[0]}", store[1], shapes(30)))
    reader = closing(engine.open(data, CPU))
    for height, width in ((24, 20), (1, 1), (70, 31)):
        ids = np.random.default_rng(height).integers(0, len(data), 64)
        crop = random_crop(data, ids, height, width)
        off = np.abs(by_pillow(data, ids, crop) - by_engine(reader, ids, crop))
        if store[1] == "raw":
            assert off.max() <= 1
        elif height > 1:
            assert off.mean() < 0.7
            assert off.max() <= 32


# --- Crops ---------------------------------------------------------------------------------------------


def random_crop(data: Converted, ids: NDArray[np.int64], height: int, width: int) -> Crop:
    rng = np.random.default_rng(int(ids.sum()))
    sizes = [rng.integers(1, side[ids] + 1) for side in (data.heights, data.widths)]
    places = [
        rng.integers(0, side[ids] - size + 1)
        for side, size in zip((data.heights, data.widths), sizes, strict=True)
    ]
    return Crop(Windows(*places, *sizes, rng.random(len(ids)) < 0.5), height, width)


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


@every_engine
@every_store
@pytest.mark.parametrize(("height", "width"), [(24, 18), (7, 11), (1, 1), (61, 40)])
def test_crops_are_as_pillows(opened: tuple[Converted, Reader], height: int, width: int) -> None:
    data, reader = opened
    ids = np.random.default_rng(height).integers(0, SAMPLES, 50)
    crop = random_crop(data, ids, height, width)
    off = np.abs(by_pillow(data, ids, crop) - by_engine(reader, ids, crop))
    if not data.compressed.any():
        assert off.max() <= 1
    elif height > 1:
        assert off.mean() < 0.7
        assert off.max() <= 32


@every_store
def test_crops_of_raw_images_are_the_same_from_every_engine(
    closing: Closing, store: tuple[str, str], data: dict[tuple[str, str], Converted]
) -> None:
    ids = np.random.default_rng(4).integers(0, SAMPLES, 80)
    crop = random_crop(data[store], ids, 13, 10)
    results = []
    for part in ENGINES.values():
        reader = closing(part().open(data[store], CPU))
        results.append(by_engine(reader, ids, crop))
    for other in results[1:]:
        off = np.abs(results[0] - other)
        assert off.max() == 0 if store[1] == "raw" else off.mean() < 0.7


@every_engine
@every_store
def test_an_empty_crop_is_empty(opened: tuple[Converted, Reader]) -> None:
    data, reader = opened
    none = np.array([], dtype=np.int64)
    assert reader.read(none, whole(data, none, 5, 6)).shape == (0, 3, 5, 6)


@every_engine
@every_store
@pytest.mark.parametrize("side", ["top", "left", "height", "width"])
@pytest.mark.parametrize("change", [-HEIGHT, HEIGHT, 2**40])
def test_a_window_outside_of_its_image_is_an_error(
    opened: tuple[Converted, Reader], side: str, change: int
) -> None:
    data, reader = opened
    ids = np.array([3, 8])
    crop = whole(data, ids, 4, 4)
    setattr_of = {name: getattr(crop.windows, name) for name in ("top", "left", "height", "width", "flip")}
    setattr_of[side] = setattr_of[side] + np.array([0, change])
    with pytest.raises(DataError, match=r"a window must lie within its image .* of sample 8, 24x18"):
        reader.read(ids, Crop(Windows(**setattr_of), 4, 4))
    with pytest.raises(DataError, match="a crop must have a window an image"):
        reader.read(np.array([3]), crop)


@every_engine
def test_a_crop_of_a_corrupt_sample_is_an_error(
    engine: EngineConfig, tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / "set.beton", "jpeg")
    flip_byte(open_dataset(path), 11)
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, path, height=6)


@every_engine
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-2],
        lambda content: jpeg(smooth_images(1, HEIGHT * 2, WIDTH * 2)[0]),
        lambda content: b"not a JPEG",
    ],
    ids=["half", "without its end", "larger", "no JPEG"],
)
def test_a_crop_of_a_jpeg_that_was_broken_when_written_is_an_error(
    engine: EngineConfig, damage: Callable[[bytes], bytes], tmp_path: Path, no_thread_left: None
) -> None:
    """Also where the damage is below the window, and whether or not there is a checksum."""
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", damage=damage))
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data, height=6)
    data.checksums = None
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data, height=6)


@every_engine
@pytest.mark.parametrize("marker", [b"\xff\xc0", b"\xff\xc4", b"\xff\xd9"], ids=["frame", "tables", "end"])
def test_a_crop_of_an_odd_jpeg_that_its_checksum_vouches_for_is_read(
    closing: Closing, engine: EngineConfig, marker: bytes, tmp_path: Path
) -> None:
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", damage=stray_bytes(marker)))
    ids = np.arange(SAMPLES)
    reader = closing(engine.open(data, CPU))
    crop = whole(data, ids, HEIGHT, WIDTH)
    assert np.abs(by_engine(reader, ids, crop) - by_pillow(data, ids, crop)).max() <= 1


# --- Crops of JPEGs by the ffcv engine: scaled while they are decoded, and no further than needed --------


def textured(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(height)
    return [
        np.clip(image + rng.normal(0, 15, (*image.shape[:2], 1)), 0, 255).astype(np.uint8)
        for image in smooth_images(count, height, width)
    ]


def by_draft(content: bytes, crop: Crop, place: int) -> tuple[NDArray[np.int64], int]:
    """The window from Pillow's own scaled decode, which has pixels of a whole fraction of the size."""
    windows = crop.windows
    top, left, height, width = (
        int(side[place]) for side in (windows.top, windows.left, windows.height, windows.width)
    )
    scale = 1
    while scale < 8 and height >= 2 * scale * crop.height and width >= 2 * scale * crop.width:
        scale *= 2
    image = Image.open(io.BytesIO(content))
    if scale > 1:
        image.draft("RGB", (image.width // scale, image.height // scale))
        assert image.size[0] == -(-Image.open(io.BytesIO(content)).width // scale)
    first = left // scale, top // scale
    last = -(-(left + width) // scale), -(-(top + height) // scale)
    part = image.convert("RGB").crop((*first, *last))
    box = (
        left / scale - first[0],
        top / scale - first[1],
        (left + width) / scale - first[0],
        (top + height) / scale - first[1],
    )
    small = np.asarray(part.resize((crop.width, crop.height), Image.Resampling.BILINEAR, box=box))
    return (small[:, ::-1] if windows.flip[place] else small).astype(np.int64), scale


JPEG_KINDS = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 2, "progressive": True},
    {"subsampling": 2, "restart_marker_rows": 1},
    {"grey": True},
]


def encode_as(image: NDArray[np.uint8], kind: dict[str, int]) -> bytes:
    if "grey" in kind:
        return jpeg(np.asarray(Image.fromarray(image).convert("L")))
    return jpeg(image, **kind)


@pytest.mark.parametrize("kind", JPEG_KINDS, ids=lambda kind: "-".join(map(str, kind)))
@pytest.mark.parametrize("size", [8, 20, 60])
def test_ffcv_scales_while_it_decodes(
    closing: Closing, kind: dict[str, int], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one grey level of Pillow's scaled decode, resized; and never by way of the whole image."""
    images = textured(6, 149, 203)
    contents = [encode_as(image, kind) for image in images]
    data = open_dataset(write(tmp_path / "set.beton", images, contents, "jpeg"))
    ids = np.random.default_rng(size).integers(0, 6, 60)
    crop = random_crop(data, ids, size, size)
    wanted = [by_draft(contents[index], crop, place) for place, index in enumerate(ids)]
    assert len({scale for _, scale in wanted}) >= (3 if size == 8 else 2)
    monkeypatch.setattr(type(data), "image", None)
    reader = closing(ENGINES["ffcv"]().open(data, CPU))
    assert np.abs(by_engine(reader, ids, crop) - np.stack([one for one, _ in wanted])).max() <= 1


@pytest.mark.parametrize("kind", JPEG_KINDS, ids=lambda kind: "-".join(map(str, kind)))
def test_ffcv_decodes_the_same_pixels_without_what_is_below(
    closing: Closing, kind: dict[str, int], tmp_path: Path
) -> None:
    """Only where checksums vouch for the bytes does it leave out the rows below the window."""
    images = textured(2, 150, 64)
    contents = [encode_as(image, kind) for image in images]
    data = open_dataset(write(tmp_path / "set.beton", images, contents, "jpeg"))
    rows = np.arange(1, 151)
    ids, zero = rows % 2, np.zeros(150, np.int64)
    results = []
    for vouched in (True, False):
        if not vouched:
            data.checksums = None
        reader = closing(ENGINES["ffcv"]().open(data, CPU))
        results.append(
            [
                reader.read(ids, Crop(Windows(zero, zero, rows, zero + 64, zero > 0), size, size))
                for size in (64, 8)
            ]
        )
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_ffcv_crops_stay_near_to_the_exact_decode(closing: Closing, tmp_path: Path) -> None:
    """Within 4 grey levels on average where pictures are full of noise of 15.

    The worst case, because a scaled decode takes the mean of 2x2 pixels where the filter weighs 4x4.
    """
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", textured(4, 256, 320)))
    reader = closing(ENGINES["ffcv"]().open(data, CPU))
    ids = np.arange(4)
    for scale in (2, 4):
        crop = whole(data, ids, 256 // scale, 320 // scale)
        off = np.abs(by_engine(reader, ids, crop) - by_pillow(data, ids, crop))
        assert 0.5 < off.mean() < 4
    crop = whole(data, ids, 255, 319)
    assert np.abs(by_engine(reader, ids, crop) - by_pillow(data, ids, crop)).max() <= 1


# --- Memory --------------------------------------------------------------------------------------------


@every_engine
@every_store
@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "cropped"])
def test_part_of_a_batch_stays_as_it_is(opened: tuple[Converted, Reader], cropped: bool) -> None:
    """Memory is given again once nobody holds any of it: not while somebody holds a row."""
    data, reader = opened
    rng = np.random.default_rng(5)
    kept = []
    for _ in range(30):
        ids = rng.integers(0, SAMPLES, 16)
        images = reader.read(ids, whole(data, ids, HEIGHT, WIDTH) if cropped else None)
        kept.append((ids[3], images[3] if len(kept) % 2 else images.numpy()[3]))
        del images
    for index, image in kept:
        one = np.array([index])
        again = reader.read(one, whole(data, one, HEIGHT, WIDTH) if cropped else None)
        assert (np.asarray(image) == again[0].numpy()).all()


@every_engine
@every_store
def test_memory_does_not_grow(opened: tuple[Converted, Reader]) -> None:
    data, reader = opened

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    ids = np.random.default_rng(6).integers(0, SAMPLES, 1000)
    taken = []
    for _ in range(150):
        reader.read(ids)
        reader.read(ids, whole(data, ids, HEIGHT, WIDTH))
        taken.append(resident())
    # Two batches a round are 2.6 MB: a leak of either would be 52 MB over 40 rounds. Of ten rounds the
    # lowest, once all threads have what they keep: DALI's take a hundred rounds for that, and their memory
    # goes up and down.
    assert min(taken[140:]) - min(taken[100:110]) < 16e6


# --- Opening -------------------------------------------------------------------------------------------


def test_torchvision_decodes_for_a_device(tmp_path: Path) -> None:
    """On the CPU here, where its decoder is Pillow's; see below for a GPU."""
    data = open_dataset(make(tmp_path / "set.beton", "jpeg"))
    out = torch.empty((5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    assert decode_there(StoredSamples(data), np.arange(4, 9), out)
    assert torch.equal(out.permute(0, 3, 1, 2), expected(data, range(4, 9)))


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"not a JPEG", lambda content: jpeg(smooth_images(1, HEIGHT * 2, WIDTH)[0])],
    ids=["no JPEG", "larger"],
)
def test_what_torchvision_will_not_decode_is_left_to_the_cpu(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", damage=damage))
    out = torch.empty((5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    assert not decode_there(StoredSamples(data), np.arange(8, 13), out)


def test_torchvision_is_not_given_bytes_that_changed(tmp_path: Path) -> None:
    path = make(tmp_path / "set.beton", "jpeg")
    flip_byte(open_dataset(path), 11)
    out = torch.empty((5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with pytest.raises(CorruptSampleError, match="sample 11"):
        decode_there(StoredSamples(open_dataset(path)), np.arange(8, 13), out)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_decodes_at_the_start(data: dict[tuple[str, str], Converted]) -> None:
    reader = ENGINES["resident"](decoder="gpu").open(data["beton", "jpeg"], torch.device("cuda"))  # type: ignore[call-arg]
    images = reader.read(np.arange(SAMPLES)).cpu()
    off = (images.int() - expected(data["beton", "jpeg"], range(SAMPLES)).int()).abs()
    assert off.max() <= 8


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_resident_refuses_several_shapes_on_a_gpu(tmp_path: Path) -> None:
    path = make(tmp_path / "set.beton", "raw", [*smooth_images(3), *smooth_images(2, HEIGHT + 1, WIDTH)])
    with pytest.raises(DataError, match="convert with --square"):
        ENGINES["resident"]().open(open_dataset(path), torch.device("cuda"))


def test_resident_crops_on_a_device_as_on_the_host(
    closing: Closing, data: dict[tuple[str, str], Converted]
) -> None:
    """The device's own way, here on the CPU."""
    reader = closing(ENGINES["resident"]().open(data["beton", "raw"], CPU))
    assert isinstance(reader, ResidentReader)
    ids = np.random.default_rng(4).integers(0, SAMPLES, 80)
    crop = random_crop(data["beton", "raw"], ids, 13, 10)
    there = reader._crop_there(ids, crop).permute(0, 2, 3, 1).numpy().astype(np.int64)
    assert np.abs(there - by_engine(reader, ids, crop)).max() <= 1


# --- In a loader ---------------------------------------------------------------------------------------


@every_engine
@every_store
def test_a_loader_gives_every_batch_once_and_in_order(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> None:
    order = Order(np.random.default_rng(3).integers(0, SAMPLES, 101), round=4)
    with Loader(data[store], engine=engine, batch_size=8, device="cpu") as loader:
        batches = list(loader.raw_batches(order))
        resumed = list(loader.raw_batches(order, start=7))
    assert [batch.cursor.step for batch in batches] == list(range(13))
    assert {batch.cursor.round for batch in batches} == {4}
    assert np.concatenate([batch.ids for batch in batches]).tolist() == order.ids.tolist()
    for batch in batches:
        assert_same(batch.images, data[store], batch.ids)
        assert (batch.targets["label"].numpy() == data[store].labels[batch.ids]).all()
    assert len(resumed) == 6
    for early, late in zip(batches[7:], resumed, strict=True):
        assert early.cursor.step == late.cursor.step
        assert torch.equal(early.images, late.images)


@every_engine
@every_store
def test_leaving_a_loader_early_leaves_no_thread(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> None:
    order = Order(np.arange(1000) % SAMPLES)
    with Loader(data[store], engine=engine, batch_size=4, device="cpu") as loader:
        for batch in loader.raw_batches(order):
            if batch.cursor.step == 2:
                break
        assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
        assert next(loader.raw_batches(order)).cursor.step == 0


@every_engine
@every_store
def test_dropping_a_loader_leaves_no_thread(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> None:
    loader = Loader(data[store], engine=engine, batch_size=4, device="cpu")
    iterator = loader.batches(Order(np.arange(1000) % SAMPLES))
    next(iterator)
    pools = [thread for thread in threading.enumerate() if thread.name.startswith("ffcv")]
    del iterator, loader
    for thread in pools:
        thread.join(timeout=600)


@every_engine
@every_store
def test_a_corrupt_sample_surfaces_in_the_consumer_after_what_came_before(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / f"set.{store[0]}", store[1])
    flip_byte(open_dataset(path), 11)
    seen = []

    def consume() -> None:
        with Loader(open_dataset(path), engine=engine, batch_size=4, device="cpu") as loader:
            for batch in loader.raw_batches(Order(np.arange(SAMPLES))):
                seen.append(batch.cursor.step)

    with pytest.raises(CorruptSampleError, match=r"sample 11 \(class1/011.jpg\)"):
        consume()
    # An engine that decodes when it is opened finds out before the first batch.
    assert seen in ([], [0, 1])


@every_engine
def test_is_a_frozen_dataclass_that_says_what_it_does(engine: EngineConfig) -> None:
    assert is_dataclass(engine)
    assert type(engine).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (type(engine).__doc__ or "").splitlines()[0].endswith(".")
    assert "threads" in {field.name for field in fields(engine)}
    with pytest.raises(DataError, match="threads must be at least 1, or 0 for one per core; got -1"):
        type(engine)(threads=-1)  # type: ignore[call-arg]
    with pytest.raises(
        DataError, match="threads must be at most 1024; got 100000000: give 0 for one per core"
    ):
        type(engine)(threads=100_000_000)  # type: ignore[call-arg]
    assert type(engine)(threads=3).open  # type: ignore[call-arg]


def test_ffcv_that_is_not_installed_is_named_with_the_commands(
    data: dict[tuple[str, str], Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.engines import ffcv

    ffcv._library.cache_clear()
    monkeypatch.setitem(sys.modules, "ffcv.libffcv", None)
    with pytest.raises(
        MissingExtraError, match=r"libturbojpeg0-dev libopencv-dev.*pip install 'budgetrain\[ffcv\]'"
    ):
        ENGINES["ffcv"]().open(data["beton", "raw"], CPU)


def test_importing_ffcv_leaves_the_number_of_threads(data: dict[tuple[str, str], Converted]) -> None:
    from pipeline.engines import ffcv

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ffcv._library.cache_clear()
        for name in [name for name in sys.modules if name.startswith("ffcv")]:
            del sys.modules[name]
        ENGINES["ffcv"]().open(data["beton", "raw"], CPU).close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_set_that_memory_cannot_hold_is_refused_with_the_remedy(
    data: dict[tuple[str, str], Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100 if name == "SC_PHYS_PAGES" else 256)
    remedy = (
        r"use the ffcv engine, which reads batch by batch \(--engine ffcv\), or convert to smaller images"
    )
    with pytest.raises(DataError, match=remedy):
        ENGINES["resident"]().open(data["beton", "raw"], CPU)


def test_a_decoder_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match="decoder must be one of cpu, gpu; got 'nvjpeg'"):
        ENGINES["resident"](decoder="nvjpeg")  # type: ignore[call-arg]


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
