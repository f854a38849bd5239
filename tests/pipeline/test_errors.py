"""Sound files that the machine can't open or hold at the moment: said so, and not taken for damaged."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.conversion.journal import Journal, journal_path
from pipeline.errors import DataError, MachineError
from pipeline.formats import open_dataset
from pipeline.formats.card import read_card
from pipeline.sources import open_source
from pipeline.sources.pixels import to_mode

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(4) % 2


Lowered = Callable[[], AbstractContextManager[None]]


def png(index: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGES[index]).save(file, "PNG")
    return file.getvalue()


def make_npz(path: Path) -> None:
    np.savez(path, images=IMAGES, labels=LABELS)


def make_parquet(path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([png(index) for index in range(4)]), "label": LABELS}), path)


def make_tar(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for index in range(4):
            for ending, content in (("png", png(index)), ("cls", b"%d" % LABELS[index])):
                entry = tarfile.TarInfo(f"{index}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def make_folder(path: Path) -> None:
    for index in range(4):
        file = path / "ab"[LABELS[index]] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(index))


MAKERS: dict[str, Callable[[Path], None]] = {
    "x.npz": make_npz,
    "x.parquet": make_parquet,
    "x.tar": make_tar,
    "x": make_folder,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_source_that_can_not_be_opened_just_now_is_not_damaged(
    name: str, tmp_path: Path, no_more_files: Lowered
) -> None:
    path = tmp_path / name
    MAKERS[name](path)
    assert len(open_source(str(path))) == 4
    with no_more_files(), pytest.raises(MachineError) as told:
        open_source(str(path))
    assert str(told.value) == (
        f"{path} must be readable; got Too many open files: let a process open more by `ulimit -n 65536`"
    )


def test_a_named_sets_files_are_not_to_be_removed_for_it(drawn: Path, no_more_files: Lowered) -> None:
    assert len(open_source("fashion_mnist", data_dir=drawn)) == 1280
    with (
        no_more_files(),
        pytest.raises(MachineError, match="ubyte must be readable; got Too many open files"),
    ):
        open_source("fashion_mnist", data_dir=drawn)


def test_an_image_that_can_not_be_opened_just_now_is_not_corrupt(
    tmp_path: Path, no_more_files: Lowered
) -> None:
    make_folder(tmp_path / "x")
    source = open_source(str(tmp_path / "x"))
    source.read(0)
    told = r"/0\.png must be readable; got Too many open files: let .* `ulimit -n 65536`"
    with no_more_files(), pytest.raises(MachineError, match=told):
        source.read(0)


def test_a_journal_or_card_that_can_not_be_opened_just_now_is_not_to_be_removed(
    tmp_path: Path, no_more_files: Lowered
) -> None:
    out = tmp_path / "x.beton"
    make_folder(tmp_path / "x")
    convert(open_source(str(tmp_path / "x")), out, ConvertOptions())
    journal_path(out).touch()
    for read in (lambda: read_card(out), lambda: Journal(out, {})):
        read()
        with no_more_files(), pytest.raises(MachineError, match="must be readable; got Too many open files"):
            read()


def test_want_of_memory_is_no_damaged_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "x")
    convert(open_source(str(tmp_path / "x")), tmp_path / "x.beton", ConvertOptions(encoding="jpeg"))
    data = open_dataset(tmp_path / "x.beton")
    data.image(0)

    def fail(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fail)
    with pytest.raises(MachineError, match=r"sample 0 of .*x\.beton must fit into memory .*: give fewer thr"):
        data.image(0)


@pytest.mark.parametrize("name", ["x.npz", "x.parquet", "x.tar"])
def test_a_file_that_may_not_be_read_is_not_damaged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an entry that leads back to itself, as permissions stop no root."""
    path = tmp_path / name
    MAKERS[name](path)
    # Its kind is looked at first, by the name; between that and the opening it becomes a loop.
    looked = Path.is_file

    def look_and_replace(self: Path) -> bool:
        found = looked(self)
        if self == path and found:
            path.unlink()
            path.symlink_to(path.name)
        return found

    monkeypatch.setattr(Path, "is_file", look_and_replace)
    with pytest.raises(DataError, match=r"Too many levels of symbolic links\): mend its permissions") as told:
        open_source(str(path))
    assert "whole" not in str(told.value)


def test_want_of_memory_is_no_damaged_exif(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orientation that isn't read would be an image on its side."""

    def fail(self: Image.Image) -> Image.Exif:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "getexif", fail)
    with pytest.raises(MemoryError):
        to_mode(Image.fromarray(IMAGES[0]), "RGB")
