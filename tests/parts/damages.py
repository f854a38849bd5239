"""Ways to damage a data set on disk."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.formats import Sample, StoredImage, format_of, layout, webdataset_layout
from pipeline.formats.card import Card, card_path

SAMPLES, HEIGHT, WIDTH = 12, 40, 52
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
