"""DALI and webdataset read our shards, and we read those of others."""

from __future__ import annotations

import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from drawn_sets import Pixels, noise
from PIL import Image
from webdataset_folders import decode, jpeg, write

from pipeline.errors import DataError
from pipeline.formats import open_dataset
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.jpeg_header import Frame, read_frame
from pipeline.formats.verify import verify
from pipeline.formats.webdataset import WebDataset


def test_dali_reads_our_shards_with_our_indices(mixed: Path, images: list[Pixels]) -> None:
    fn = pytest.importorskip("nvidia.dali.fn")
    pipeline = pytest.importorskip("nvidia.dali").Pipeline(4, 1, None)
    shards = sorted(str(path) for path in mixed.glob("*.tar"))
    with pipeline:
        *files, label = fn.readers.webdataset(
            paths=shards,
            index_paths=[shard.replace(".tar", ".idx") for shard in shards],
            ext=["jpg;ppm", "cls"],
            missing_component_behavior="error",
        )
        pipeline.set_outputs(fn.decoders.image(files[0], device="cpu"), label)
    data = WebDataset(mixed)
    for start in range(0, len(images), 4):
        decoded, labels = pipeline.run()
        for place in range(4):
            assert (decoded.at(place) == data.image(start + place)).all()
            assert int(bytes(labels.at(place))) == data.labels[start + place]


def test_the_index_is_the_one_that_dalis_script_writes(mixed: Path, tmp_path: Path) -> None:
    creator = pytest.importorskip("wds2idx").IndexCreator
    for shard in mixed.glob("*.tar"):
        with creator(str(shard), str(tmp_path / "other.idx"), verbose=False) as index:
            index.create_index()
        assert (tmp_path / "other.idx").read_text() == shard.with_suffix(".idx").read_text()


def test_webdataset_reads_our_shards(mixed: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(str(path) for path in mixed.glob("*.tar"))
    data = WebDataset(mixed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"{index:09}" for index in range(len(data))]
    for index, sample in enumerate(samples):
        pixels = sample["jpg" if data.compressed[index] else "ppm"]
        assert (np.asarray(pixels) == data.image(index)).all()
        assert sample["cls"] == data.labels[index]


@pytest.mark.parametrize("indexed", [False, True])
def test_shards_of_webdatasets_own_writer_are_read(tmp_path: Path, indexed: bool) -> None:
    webdataset = pytest.importorskip("webdataset")
    images = [noise(index, 17 + index, 23) for index in range(7)]
    folder = tmp_path / "theirs"
    folder.mkdir()
    for shard, part in enumerate((range(4), range(4, 7))):
        with webdataset.TarWriter(str(folder / f"set-{shard}.tar")) as writer:
            for index in part:
                image = images[index]
                key = f"n{index:04}/some.where/image{index}"
                writer.write({"__key__": key, "jpg": jpeg(image), "cls": index % 3, "json": {"a": [index]}})
        if indexed:
            creator = pytest.importorskip("wds2idx").IndexCreator
            name = str(folder / f"set-{shard}")
            with creator(name + ".tar", name + ".idx", verbose=False) as index_file:
                index_file.create_index()
    data = open_dataset(folder)
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert data.card.classes == ("0", "1", "2")
    assert data.checksums is None
    assert data.framed is None
    for index, image in enumerate(images):
        assert (data.image(index) == decode(jpeg(image))).all()
        assert data.name(index) == f"n{index:04}/some.where/image{index}"
    assert verify(folder).sound


def test_our_own_shards_without_their_table_are_read_as_anybodys(
    tmp_path: Path, images: list[Pixels]
) -> None:
    path = tmp_path / "set.wds"
    write(path, images, lambda index: index % 3 > 0, levels=(8, 24), shard_size=30_000)
    data = WebDataset(path)
    (path / layout.TABLE).unlink()
    again = WebDataset(path)
    assert again.levels == (8, 24)
    for one, other in ((data, again), (data.at(8), again.at(8)), (data.at(24), again.at(24))):
        for name in ("labels", "heights", "widths", "compressed", "shard", "offsets", "sizes"):
            assert (getattr(one, name) == getattr(other, name)).all()
    assert again.name(3) == "000000003"


def ppm(image: Pixels, comment: bytes = b"") -> bytes:
    return b"P6 " + comment + b"%d\n%d\t255\n" % (image.shape[1], image.shape[0]) + image.tobytes()


def test_ppm_files_of_any_writer_are_read(tmp_path: Path) -> None:
    image = noise(0, 5, 7)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PPM")
    members = {
        "a.ppm": file.getvalue(),
        "a.cls": b"0",
        "b.ppm": ppm(image, b"# drawn by hand\n"),
        "b.cls": b"1\n",
    }
    write_tar(tmp_path / "set" / "x.tar", members)
    data = WebDataset(tmp_path / "set")
    assert (data.image(0) == image).all()
    assert (data.image(1) == image).all()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"a.jpg": b"JPEG"}, r"x\.tar: a sample must have .* a label, .cls, .*; a has \.jpg"),
        (
            {"a.png": b"PNG", "a.cls": b"0"},
            r"a sample must have an image, .jpg or .ppm, .*; a has \.png, \.cls",
        ),
        ({"a.jpg": b"JPEG", "a.cls": b"cat"}, r"a label, .cls, a whole number"),
        ({"a.jpg": b"JPEG", "a.cls": b"0"}, r"sample 0 \(a\) is no JPEG"),
        ({"a.ppm": b"P5 2 2 255\n    ", "a.cls": b"0"}, r"sample 0 \(a\) is no binary PPM image"),
        ({"a.ppm": b"P6 2 2 255\n123", "a.cls": b"0"}, r"sample 0 \(a\) holds another number of bytes"),
        ({"a.ppm": ppm(noise(0, 2, 2)), "a.cls": b"-1"}, r"sample 0 \(a\) has label -1"),
        ({}, "must hold at least 1 sample in .tar files; it holds none: name the folder that the .tar files"),
    ],
)
def test_somebody_elses_folder_that_can_not_be_read_says_why(
    tmp_path: Path, members: dict[str, bytes], fault: str
) -> None:
    write_tar(tmp_path / "set" / "x.tar", members)
    with pytest.raises(DataError, match=fault):
        WebDataset(tmp_path / "set")


@pytest.mark.parametrize("scale", [1, 3])
def test_a_frame_header_is_found_wherever_it_stands(scale: int) -> None:
    picture = Image.fromarray(noise(0, 30 * scale, 20))
    for options in (
        {},
        {"progressive": True},
        {"exif": b"Exif\0\0" + bytes(300)},
        {"comment": b"\xff\xc0" * 9},
    ):
        for mode, components in (("RGB", 3), ("L", 1), ("CMYK", 4)):
            file = io.BytesIO()
            picture.convert(mode).save(file, "JPEG", **options)
            content = np.frombuffer(file.getvalue(), np.uint8)
            assert read_frame(content) == Frame(30 * scale, 20, components)
            for end in range(60):
                read_frame(content[:end])
    assert read_frame(np.zeros(0, np.uint8)) is None
    assert read_frame(np.frombuffer(b"\xff\xd8" + b"\xff" * 50, np.uint8)) is None
