"""Damaged data sets under every engine: an error that names file and sample, or the right pixels.

Every case takes a sound set of real files, damages a copy of it on disk, and reads it through each engine,
whole images and windows. A thread that doesn't come back has hung.
"""

from __future__ import annotations

import io
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.crop import Crop, Windows
from pipeline.engines import ENGINES, EngineConfig
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import (
    Converted,
    Sample,
    StoredImage,
    format_of,
    layout,
    open_dataset,
    webdataset_layout,
)
from pipeline.formats.card import Card, card_path
from pipeline.formats.verify import verify

CPU = torch.device("cpu")
SAMPLES, HEIGHT, WIDTH = 12, 40, 52
PATIENCE = 60
"""Seconds after which a read has hung; it takes some hundredths."""
SEEDS = 6

Pixels = NDArray[np.uint8]
Damage = Callable[[Path, np.random.Generator], None]


def photo(seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.float64)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def write(path: Path, *, shard_size: int = 30_000) -> Path:
    """Write 12 images, JPEGs and every third raw, a WebDataset of them in several shards."""
    form = format_of(path)
    options = {"shard_size": shard_size} if path.suffix == ".wds" else {}
    with type(form)(**options).create(path, SAMPLES) as writer:
        for index in range(SAMPLES):
            image, file = photo(index), io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=90)
            content = image.tobytes() if index % 3 == 0 else file.getvalue()
            full = StoredImage.of(content, HEIGHT, WIDTH)
            writer.append(Sample([full], index % 3 > 0, index % 2, f"{index:09}"))
        card = Card(
            name="photos",
            split="train",
            samples=SAMPLES,
            classes=("even", "odd"),
            class_counts=(SAMPLES // 2, SAMPLES // 2),
            height=HEIGHT,
            width=WIDTH,
            min_height=HEIGHT,
            max_height=HEIGHT,
            min_width=WIDTH,
            max_width=WIDTH,
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            encoding="mixed",
            quality=90,
            source="made by a test",
        )
        writer.publish(writer.finish(card))
    return path


CROP = Crop(
    Windows(
        top=np.arange(SAMPLES) % 9,
        left=np.arange(SAMPLES) * 2,
        height=20 + np.arange(SAMPLES),
        width=25 + np.arange(SAMPLES) // 2,
        flip=np.arange(SAMPLES) % 2 == 0,
    ),
    16,
    24,
)


@dataclass(frozen=True)
class Sound:
    """A set before it is damaged, and what each engine reads from it, by the samples' names."""

    path: Path
    whole: dict[str, dict[str, torch.Tensor]]
    crops: dict[str, dict[str, torch.Tensor]]
    labels: dict[str, int]


def read(engine: EngineConfig, data: Converted, ids: NDArray[np.int64], crop: Crop | None) -> torch.Tensor:
    """Read through an engine, in a thread that has to come back."""
    result: list[torch.Tensor | BaseException] = []

    def work() -> None:
        reader = None
        try:
            reader = engine.open(data, CPU)
            result.append(reader.read(ids, crop))
        except BaseException as error:
            result.append(error)
        finally:
            if reader is not None:
                reader.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "reading hangs"
    (outcome,) = result
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


@pytest.fixture(scope="module")
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sound:
    path = write(tmp_path_factory.mktemp("sound") / f"set.{request.param}")
    data = open_dataset(path)
    everything = np.arange(SAMPLES)
    names = [data.name(index) for index in everything]
    engines = {name: part(threads=1) for name, part in ENGINES.items()}  # type: ignore[call-arg]
    whole = {name: read(engine, data, everything, None) for name, engine in engines.items()}
    crops = {name: read(engine, data, everything, CROP) for name, engine in engines.items()}
    assert all(torch.equal(images, whole["resident"]) for images in whole.values())
    return Sound(
        path,
        {name: dict(zip(names, images, strict=True)) for name, images in whole.items()},
        {name: dict(zip(names, images, strict=True)) for name, images in crops.items()},
        dict(zip(names, data.labels.tolist(), strict=True)),
    )


def copy(source: Path, folder: Path) -> Path:
    path = folder / source.name
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if source.is_dir():
        shutil.copytree(source, path)
    else:
        shutil.copy(source, path)
        shutil.copy(card_path(source), card_path(path))
    return path


def opened(path: Path) -> Converted | None:
    """Open a set, or give None for an error that names it."""
    try:
        return open_dataset(path)
    except DataError as error:
        line = str(error)
    assert path.stem in line
    assert "\n" not in line
    return None


def read_or_named(
    engine: EngineConfig, data: Converted, ids: NDArray[np.int64], crop: Crop | None
) -> torch.Tensor | None:
    """Read, or give None for an error that names file and sample."""
    try:
        return read(engine, data, ids, crop)
    except CorruptSampleError as error:
        line = str(error)
    assert re.search(rf"{re.escape(data.path.name)}: sample \d+ ", line)
    assert "\n" not in line
    return None


def assert_errors_or_right(path: Path, sound: Sound) -> int:
    """Read a damaged set through every engine; gives how many reads went well."""
    data = opened(path)
    if data is None:
        return 0
    right = 0
    names = [data.name(index) for index in range(len(data))]
    assert [sound.labels[name] for name in names] == data.labels.tolist()
    for engine_name, part in ENGINES.items():
        engine = part(threads=1)  # type: ignore[call-arg]
        for crop, expected in ((None, sound.whole[engine_name]), (CROP, sound.crops[engine_name])):
            # All at once, and then one by one: also those behind a broken one must be right.
            for ids in [np.arange(SAMPLES), *np.arange(SAMPLES)[:, None]]:
                if len(ids) == 1 and (engine_name == "resident" or ids[0] % 4):
                    continue
                windows = None if crop is None else Crop(crop.windows[ids], crop.height, crop.width)
                images = read_or_named(engine, data, ids, windows)
                if images is not None:
                    right += 1
                    for index, image in zip(ids, images, strict=True):
                        assert torch.equal(image, expected[names[index]])
    return right


# ------------------------------------------------------------------------------------------- the damage


def data_file(path: Path, rng: np.random.Generator) -> Path:
    """The file itself, or one of a folder's shards."""
    return path if path.is_file() else rng.choice(sorted(path.glob("*.tar")))


def flip_one(path: Path, rng: np.random.Generator) -> None:
    change(data_file(path, rng), rng, 1)


def flip_many(path: Path, rng: np.random.Generator) -> None:
    change(data_file(path, rng), rng, 40)


def change(file: Path, rng: np.random.Generator, count: int) -> None:
    content = bytearray(file.read_bytes())
    for place in rng.integers(0, len(content), count):
        content[place] ^= int(rng.integers(1, 256))
    file.write_bytes(content)


def cut(path: Path, rng: np.random.Generator) -> None:
    file = data_file(path, rng)
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(0, len(content))])


def lengthen(path: Path, rng: np.random.Generator) -> None:
    file = data_file(path, rng)
    file.write_bytes(file.read_bytes() + rng.bytes(int(rng.integers(1, 2000))))


def blank(path: Path, rng: np.random.Generator) -> None:
    """A stretch of zeros, as a disk leaves that lost a block."""
    file = data_file(path, rng)
    content = bytearray(file.read_bytes())
    start = int(rng.integers(0, len(content)))
    stop = min(start + 4096, len(content))
    content[start:stop] = bytes(stop - start)
    file.write_bytes(content)


def another_magic(path: Path, rng: np.random.Generator) -> None:
    file = data_file(path, rng)
    magics = [b"PK\x03\x04", b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n", b"ustar\0", b"\x1f\x8b\x08"]
    magic = magics[rng.integers(len(magics))]
    file.write_bytes(magic + file.read_bytes()[len(magic) :])


def another_file(path: Path, rng: np.random.Generator) -> None:
    data_file(path, rng).write_bytes(rng.bytes(int(rng.integers(0, 40_000))))


def card_changed(path: Path, rng: np.random.Generator) -> None:
    change(card_path(path), rng, 3)


EVERYWHERE: list[Damage] = [
    flip_one,
    flip_many,
    cut,
    lengthen,
    blank,
    another_magic,
    another_file,
    card_changed,
]


def table_flipped(path: Path, rng: np.random.Generator) -> None:
    change(path / webdataset_layout.TABLE, rng, 1)


def table_cut(path: Path, rng: np.random.Generator) -> None:
    table = path / webdataset_layout.TABLE
    table.write_bytes(table.read_bytes()[: rng.integers(0, 4000)])


def two_shards(path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    first, second = rng.choice(len(list(path.glob("*.tar"))), 2, replace=False)
    shards = sorted(path.glob("*.tar"))
    return shards[first], shards[second]


def shards_swapped(path: Path, rng: np.random.Generator) -> None:
    first, second = two_shards(path, rng)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def shards_swapped_and_padded(path: Path, rng: np.random.Generator) -> None:
    """So that their sizes tell nothing."""
    first, second = two_shards(path, rng)
    contents = first.read_bytes(), second.read_bytes()
    for file, content in ((first, contents[1]), (second, contents[0])):
        size = file.stat().st_size
        file.write_bytes(content[:size].ljust(size, b"\0"))


def shard_missing(path: Path, rng: np.random.Generator) -> None:
    two_shards(path, rng)[0].unlink()


def shard_of_another_set(path: Path, rng: np.random.Generator) -> None:
    """Of the same names and sizes, with the images in another order."""
    first, _ = two_shards(path, rng)
    content = first.read_bytes()
    key = re.search(rb"[0-9]{9}\.(jpg|ppm)", content)
    assert key is not None
    first.write_bytes(content[:512] + content[1024:1536] + content[512:1024] + content[1536:])


FOLDERS: list[Damage] = [
    table_flipped,
    table_cut,
    shards_swapped,
    shards_swapped_and_padded,
    shard_missing,
    shard_of_another_set,
]


def cases(everywhere: list[Damage], folders: list[Damage]) -> pytest.MarkDecorator:
    """Every format with what can happen to it."""
    pairs = [(form, damage) for form in ("beton", "wds") for damage in everywhere]
    pairs += [("wds", damage) for damage in folders]
    ids = [f"{form}-{damage.__name__}" for form, damage in pairs]
    return pytest.mark.parametrize(("sound", "damage"), pairs, ids=ids, indirect=["sound"])


@cases(EVERYWHERE, FOLDERS)
def test_a_damaged_set_gives_errors_or_the_right_images(
    damage: Damage, sound: Sound, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(SEEDS):
        path = copy(sound.path, tmp_path)
        damage(path, np.random.default_rng(seed))
        assert_errors_or_right(path, sound)
        capfd.readouterr()


@pytest.mark.parametrize("sound", ["beton", "wds"], indirect=True)
def test_the_harness_sees_sound_sets_as_such(sound: Sound, tmp_path: Path) -> None:
    assert assert_errors_or_right(copy(sound.path, tmp_path), sound) == 6 + 4 * 3
    assert verify(sound.path).sound


# -------------------------------------------------------------------------- sets without checksums


def nothing_vouched(path: Path) -> Path:
    """Take our own parts out: what is left is as FFCV or another writer of WebDatasets would leave it."""
    card_path(path).unlink()
    if path.is_dir():
        (path / webdataset_layout.TABLE).unlink()
        return path
    content = path.read_bytes()
    assert layout.MAGIC in content
    path.write_bytes(content.replace(layout.MAGIC, bytes(len(layout.MAGIC)), 1))
    return path


def index_of_another_shard(path: Path, rng: np.random.Generator) -> None:
    first, second = (shard.with_suffix(".idx") for shard in two_shards(path, rng))
    first.write_bytes(second.read_bytes())


def index_flipped(path: Path, rng: np.random.Generator) -> None:
    change(rng.choice(sorted(path.glob("*.idx"))), rng, 1)


@cases(
    [flip_one, flip_many, cut, lengthen, blank, another_magic, another_file],
    [shards_swapped, shard_missing, index_of_another_shard, index_flipped],
)
def test_without_checksums_no_engine_hangs_or_reads_what_pillow_does_not(
    damage: Damage, sound: Sound, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(SEEDS):
        path = nothing_vouched(copy(sound.path, tmp_path))
        damage(path, np.random.default_rng(seed))
        data = opened(path)
        if data is None:
            continue
        assert data.checksums is None
        if (data.heights != HEIGHT).any() or (data.widths != WIDTH).any():
            continue
        for part in ENGINES.values():
            engine = part(threads=1)  # type: ignore[call-arg]
            for index in range(len(data)):
                ids = np.array([index])
                read_or_named(engine, data, ids, Crop(CROP.windows[ids], 16, 24))
                images = read_or_named(engine, data, ids, None)
                if images is not None:
                    assert (images[0].permute(1, 2, 0).numpy() == data.image(index)).all()
        capfd.readouterr()
