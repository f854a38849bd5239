"""What every engine keeps to, on raw pixels and on JPEGs."""

from __future__ import annotations

import io
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline import ENGINES, CorruptSampleError, DataError, EnginePart, Loader, MissingExtraError, Reader
from pipeline.formats import Beton, BetonFormat, Card

CPU = torch.device("cpu")
SAMPLES, HEIGHT, WIDTH = 37, 24, 18

every_engine = pytest.mark.parametrize("engine", [part() for part in ENGINES.values()], ids=list(ENGINES))
every_encoding = pytest.mark.parametrize("encoding", ["raw", "jpeg"])


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


def write(path: Path, images: Sequence[NDArray[np.uint8]], contents: Sequence[bytes], encoding: str) -> Path:
    heights, widths = [image.shape[0] for image in images], [image.shape[1] for image in images]
    with BetonFormat().create(path, len(images)) as writer:
        for index, (image, content) in enumerate(zip(images, contents, strict=True)):
            writer.append(
                content,
                height=image.shape[0],
                width=image.shape[1],
                compressed=encoding == "jpeg",
                label=index % 5,
                checksum=zlib.crc32(content),
                name=f"class{index % 5}/{index:03}.jpg",
            )
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


def flip_byte(data: Beton, index: int) -> None:
    """Damage a sample on disk after it was written."""
    with data.path.open("r+b") as file:
        file.seek(int(data.offsets[index] + data.sizes[index] // 2))
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x55]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Beton]:
    folder = tmp_path_factory.mktemp("engines")
    return {encoding: Beton(make(folder / f"{encoding}.beton", encoding)) for encoding in ("raw", "jpeg")}


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.fixture
def opened(
    engine: EnginePart, encoding: str, data: dict[str, Beton], no_thread_left: None
) -> Iterator[tuple[Beton, Reader]]:
    reader = engine.open(data[encoding], CPU)
    yield data[encoding], reader
    reader.close()


def expected(data: Beton, ids: Sequence[int] | NDArray[np.int64]) -> Tensor:
    pixels = (
        np.stack([data.image(int(index)) for index in ids]) if len(ids) else np.empty((0, HEIGHT, WIDTH, 3))
    )
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def assert_same(images: Tensor, data: Beton, ids: Sequence[int] | NDArray[np.int64]) -> None:
    """Bit for bit, whatever decodes them."""
    assert images.dtype == torch.uint8
    assert images.shape == (len(ids), 3, HEIGHT, WIDTH)
    assert torch.equal(images, expected(data, ids))


@every_engine
@every_encoding
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
def test_gives_what_is_asked_for(opened: tuple[Beton, Reader], ids: NDArray[np.int64]) -> None:
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
    engine: EnginePart, quality: int, subsampling: int, progressive: bool, tmp_path: Path
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
def test_a_grey_jpeg_becomes_rgb(engine: EnginePart, tmp_path: Path) -> None:
    images = smooth_images(3)
    contents = [jpeg(np.asarray(Image.fromarray(image).convert("L"))) for image in images]
    pixels = read_all(engine, write(tmp_path / "set.beton", images, contents, "jpeg"))
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    assert (pixels[0, 0].numpy() == np.asarray(Image.open(io.BytesIO(contents[0])))).all()


@every_engine
@every_encoding
@pytest.mark.parametrize("wrong", [SAMPLES, -1, 2**40])
def test_an_id_out_of_range_is_an_error(opened: tuple[Beton, Reader], wrong: int) -> None:
    _, reader = opened
    with pytest.raises(DataError, match=rf"one of the {SAMPLES} samples .* got {wrong:,}"):
        reader.read(np.array([0, wrong]))
    reader.read(np.array([0]))


@every_engine
@every_encoding
def test_a_batch_stays_as_it_is(opened: tuple[Beton, Reader]) -> None:
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
@every_encoding
def test_several_threads_may_read(opened: tuple[Beton, Reader]) -> None:
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
@every_encoding
def test_bytes_that_changed_on_disk_are_an_error(
    engine: EnginePart, encoding: str, tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / "set.beton", encoding)
    flip_byte(Beton(path), 11)
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
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
    engine: EnginePart, damage: Callable[[bytes], bytes], tmp_path: Path, no_thread_left: None
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
    engine: EnginePart, marker: bytes, tmp_path: Path
) -> None:
    path = make(tmp_path / "set.beton", "jpeg", damage=stray_bytes(marker))
    assert_same(read_all(engine, path), Beton(path), np.arange(SAMPLES))


@every_engine
def test_a_truncated_jpeg_without_a_checksum_is_an_error(engine: EnginePart, tmp_path: Path) -> None:
    """As in files that FFCV itself wrote."""
    path = make(tmp_path / "set.beton", "jpeg", damage=lambda content: content[: len(content) // 2])
    data = Beton(path)
    data.checksums = None
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data)


@every_engine
@every_encoding
def test_images_of_several_shapes_are_refused_with_the_remedy(
    engine: EnginePart, encoding: str, tmp_path: Path
) -> None:
    images = [*smooth_images(3), *smooth_images(2, HEIGHT + 1, WIDTH)]
    data = Beton(make(tmp_path / "set.beton", encoding, images))
    with pytest.raises(
        DataError, match="from 24x18 to 25x18: convert the source with `trainer convert --square S`"
    ):
        engine.open(data, CPU)


@every_engine
@every_encoding
def test_a_loader_gives_every_batch_once_and_in_order(
    engine: EnginePart, encoding: str, data: dict[str, Beton], no_thread_left: None
) -> None:
    order = Order(np.random.default_rng(3).integers(0, SAMPLES, 101), round=4)
    with Loader(data[encoding], engine=engine, batch_size=8, device="cpu") as loader:
        batches = list(loader.batches(order))
        resumed = list(loader.batches(order, start=7))
    assert [batch.step for batch in batches] == list(range(13))
    assert {batch.round for batch in batches} == {4}
    assert np.concatenate([batch.ids for batch in batches]).tolist() == order.ids.tolist()
    for batch in batches:
        assert_same(batch.images, data[encoding], batch.ids)
        assert (batch.labels[:, 0].numpy() == data[encoding].labels[batch.ids]).all()
    assert len(resumed) == 6
    for early, late in zip(batches[7:], resumed, strict=True):
        assert early.step == late.step
        assert torch.equal(early.images, late.images)


@every_engine
@every_encoding
def test_leaving_a_loader_early_leaves_no_thread(
    engine: EnginePart, encoding: str, data: dict[str, Beton], no_thread_left: None
) -> None:
    order = Order(np.arange(1000) % SAMPLES)
    with Loader(data[encoding], engine=engine, batch_size=4, device="cpu") as loader:
        for batch in loader.batches(order):
            if batch.step == 2:
                break
        assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
        assert next(loader.batches(order)).step == 0


@every_engine
@every_encoding
def test_dropping_a_loader_leaves_no_thread(
    engine: EnginePart, encoding: str, data: dict[str, Beton], no_thread_left: None
) -> None:
    loader = Loader(data[encoding], engine=engine, batch_size=4, device="cpu")
    iterator = loader.batches(Order(np.arange(1000) % SAMPLES))
    next(iterator)
    pools = [thread for thread in threading.enumerate() if thread.name.startswith("ffcv")]
    del iterator, loader
    for thread in pools:
        thread.join(timeout=10)


@every_engine
@every_encoding
def test_a_corrupt_sample_surfaces_in_the_consumer_after_what_came_before(
    engine: EnginePart, encoding: str, tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / "set.beton", encoding)
    flip_byte(Beton(path), 11)
    seen = []

    def consume() -> None:
        with Loader(Beton(path), engine=engine, batch_size=4, device="cpu") as loader:
            for batch in loader.batches(Order(np.arange(SAMPLES))):
                seen.append(batch.step)

    with pytest.raises(CorruptSampleError, match=r"sample 11 \(class1/011.jpg\)"):
        consume()
    # An engine that decodes when it is opened finds out before the first batch.
    assert seen in ([], [0, 1])


@every_engine
def test_is_a_frozen_dataclass_that_says_what_it_does(engine: EnginePart) -> None:
    assert is_dataclass(engine)
    assert type(engine).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (type(engine).__doc__ or "").splitlines()[0].endswith(".")
    assert {field.name for field in fields(engine)} == {"threads"}
    with pytest.raises(DataError, match="threads must be at least 1, or 0 for one a core; got -1"):
        type(engine)(threads=-1)  # type: ignore[call-arg]
    assert type(engine)(threads=3).open  # type: ignore[call-arg]


def test_ffcv_that_is_not_installed_is_named_with_the_commands(
    data: dict[str, Beton], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.engines import ffcv

    ffcv._library.cache_clear()
    monkeypatch.setitem(sys.modules, "ffcv.libffcv", None)
    with pytest.raises(
        MissingExtraError, match=r"libturbojpeg0-dev libopencv-dev.*pip install 'budgetrain\[ffcv\]'"
    ):
        ENGINES["ffcv"]().open(data["raw"], CPU)


def test_importing_ffcv_leaves_the_number_of_threads(data: dict[str, Beton]) -> None:
    from pipeline.engines import ffcv

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ffcv._library.cache_clear()
        for name in [name for name in sys.modules if name.startswith("ffcv")]:
            del sys.modules[name]
        ENGINES["ffcv"]().open(data["raw"], CPU).close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_set_that_memory_cannot_hold_is_refused_with_the_remedy(
    data: dict[str, Beton], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.engines import resident

    monkeypatch.setattr(resident.os, "sysconf", lambda name: 100 if name == "SC_PHYS_PAGES" else 256)
    with pytest.raises(DataError, match="use the ffcv engine, or convert to smaller images"):
        ENGINES["resident"]().open(data["raw"], CPU)


def read_all(engine: EnginePart, source: Path | Beton) -> Tensor:
    data = source if isinstance(source, Beton) else Beton(source)
    reader = None
    try:
        reader = engine.open(data, CPU)
        return reader.read(np.arange(len(data)))
    finally:
        if reader is not None:
            reader.close()
