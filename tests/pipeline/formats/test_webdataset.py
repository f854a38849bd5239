"""WebDataset folders: round trips, DALI's and webdataset's own readers on either side, and broken folders."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import tarfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError, MachineError
from pipeline.formats import FORMATS, Sample, StoredImage, card_path, open_dataset
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.card import Card
from pipeline.formats.jpeg_header import Frame, read_frame
from pipeline.formats.sheet import contact_sheet
from pipeline.formats.verify import verify
from pipeline.formats.webdataset import WebDataset, WebDatasetFormat
from pipeline.formats.webdataset_writer import WebDatasetWriter
from pipeline.formats.whole import partial_path

Pixels = NDArray[np.uint8]
CLASSES = ("even", "odd")


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def jpeg(image: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()


def decode(content: bytes) -> Pixels:
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def card_of(images: Sequence[Pixels], levels: Sequence[int] = ()) -> Card:
    heights, widths = [image.shape[0] for image in images], [image.shape[1] for image in images]
    return Card(
        name="noise",
        split="train",
        samples=len(images),
        classes=CLASSES,
        class_counts=(len(images[::2]), len(images[1::2])),
        height=None,
        width=None,
        min_height=min(heights),
        max_height=max(heights),
        min_width=min(widths),
        max_width=max(widths),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        encoding="mixed",
        quality=90,
        source="noise",
        levels=tuple(levels),
    )


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


def take_over(
    writer: WebDatasetWriter, index: int, image: Pixels, compressed: bool, levels: Sequence[int] = ()
) -> bool:
    made = sample(index, image, compressed, levels)
    return writer.take_over(replace(made, images=[replace(one, content=None) for one in made.images]))


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
        card = writer.finish(card_of(images, levels))
        writer.publish(card)
    return card


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


@pytest.fixture
def images() -> list[Pixels]:
    """Of 12 shapes."""
    return [noise(index, 20 + index, 31 - index) for index in range(12)]


@pytest.fixture
def mixed(tmp_path: Path, images: list[Pixels]) -> Path:
    """Raw images and JPEGs in several shards."""
    path = tmp_path / "mixed.wds"
    write(path, images, lambda index: index % 3 > 0, shard_size=20_000)
    return path


# ---------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("shard_size", [1, 20_000, 1 << 28], ids=["a sample a shard", "several", "one"])
def test_what_is_written_is_read(tmp_path: Path, images: list[Pixels], shard_size: int) -> None:
    path = tmp_path / "set.wds"
    card = write(path, images, lambda index: index % 3 > 0, shard_size=shard_size)
    data = open_dataset(path)
    assert isinstance(data, WebDataset)
    assert len(data) == len(images)
    assert data.card == card
    assert data.labels.tolist() == [0, 1] * 6
    for index, image in enumerate(images):
        content = stored(image, index % 3 > 0)
        assert data.compressed[index] == (index % 3 > 0)
        assert (data.heights[index], data.widths[index]) == image.shape[:2]
        assert data.encoded(index) == content
        place = data.offsets[index], data.offsets[index] + data.sizes[index]
        assert bytes(data.shards[data.shard[index]][slice(*place)]) == content
        assert (data.image(index) == (decode(content) if data.compressed[index] else image)).all()
        assert data.name(index) == f"{CLASSES[index % 2]}/{index:03}.img"
    shards = sorted(path.glob("*.tar"))
    assert len(shards) == len(data.shards)
    assert (len(shards) == 1) == (shard_size > 1 << 20)
    assert len(shards) == 12 or shard_size > 1
    if shard_size > 1:
        assert max(shard.stat().st_size for shard in shards) <= shard_size
    assert verify(path).sound


def test_levels_are_read_and_not_stored_twice(tmp_path: Path) -> None:
    images = [noise(0, 20, 20), noise(1, 40, 40), noise(2, 60, 60)]
    path = tmp_path / "levels.wds"
    write(path, images, lambda index: index > 0, levels=(16, 48))
    data = open_dataset(path)
    assert data.levels == (16, 48)
    for level in (16, 48):
        small = data.at(level)
        assert (small.card.min_height, small.card.max_height) == (min(20, level), min(60, level))
        for index, image in enumerate(images):
            expected = image[:level, :level]
            assert small.encoded(index) == stored(expected, index > 0)
            assert small.image(index).shape == expected.shape
            assert small.name(index) == data.name(index)
    assert data.at(48).offsets[:2].tolist() == data.offsets[:2].tolist()
    with tarfile.open(path / "levels-000000.tar") as archive:
        names = archive.getnames()
    assert names == [
        *("000000000.ppm", "000000000.16.ppm", "000000000.cls"),
        *("000000001.jpg", "000000001.16.jpg", "000000001.cls"),
        *("000000002.jpg", "000000002.16.jpg", "000000002.48.jpg", "000000002.cls"),
    ]
    with pytest.raises(DataError, match=r"must be one that it holds: \(16, 48\); got 20"):
        data.at(20)
    assert verify(path).sound


def test_damage_at_a_level_is_named(tmp_path: Path) -> None:
    path = tmp_path / "levels.wds"
    write(path, [noise(index, 40, 40) for index in range(3)], lambda index: True, levels=(16,))
    data = WebDataset(path).at(16)
    flip(path / "levels-000000.tar", int(data.offsets[2]) + 60)
    with pytest.raises(CorruptSampleError, match=r"sample 2 \(even/002.img\) at level 16 holds other bytes"):
        WebDataset(path).at(16).image(2)
    assert list(verify(path).broken) == [2]
    WebDataset(path).image(2)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path, images: list[Pixels]) -> None:
    for name in ("one", "other"):
        write(tmp_path / name / "set.wds", images, lambda index: index % 2 > 0, (8,), shard_size=30_000)
    assert contents(tmp_path / "one/set.wds") == contents(tmp_path / "other/set.wds")


def test_without_its_card_a_folder_speaks_for_itself(mixed: Path) -> None:
    card = WebDataset(mixed).card
    assert card_path(mixed) == mixed / "card.json"
    card_path(mixed).unlink()
    assert WebDataset(mixed).card == replace(card, digest=None, created_by="")


def test_a_folder_pickles_as_its_path(mixed: Path) -> None:
    data = WebDataset(mixed)
    content = pickle.dumps(data)
    assert len(content) < 500
    assert (pickle.loads(content).image(3) == data.image(3)).all()


def test_an_image_is_a_copy_that_may_be_written_to(mixed: Path) -> None:
    data = WebDataset(mixed)
    data.image(0)[:] = 0
    assert data.image(0).any()
    assert not data.shards[0].flags.writeable


def test_a_contact_sheet_is_drawn(mixed: Path, tmp_path: Path) -> None:
    contact_sheet(open_dataset(mixed), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100


# ------------------------------------------------------------------------------------- other readers


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


# ---------------------------------------------------------------------------------------- resuming


def test_a_suspended_conversion_goes_on_to_the_same_bytes(tmp_path: Path, images: list[Pixels]) -> None:
    def compressed(index: int) -> bool:
        return index % 3 > 0

    write(tmp_path / "whole/set.wds", images, compressed, (8, 24), shard_size=25_000)
    for stop in (0, 1, 5, 11):
        path = tmp_path / f"at {stop}/set.wds"
        with WebDatasetWriter(path, 12, levels=(8, 24), shard_size=25_000) as writer:
            for index in range(stop + 1):
                append(writer, index, images[index], compressed(index), (8, 24))
            writer.suspend()
        assert not path.exists()
        with WebDatasetWriter(path, 12, levels=(8, 24), shard_size=25_000, resume=True) as writer:
            for index in range(stop):
                assert take_over(writer, index, images[index], compressed(index), (8, 24))
            for index in range(stop, 12):
                append(writer, index, images[index], compressed(index), (8, 24))
            writer.publish(writer.finish(card_of(images, (8, 24))))
        assert contents(path) == contents(tmp_path / "whole/set.wds")


def test_a_published_folder_is_taken_back(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    write(path, images)
    before = contents(path)
    with WebDatasetWriter(path, 12, resume=True) as writer:
        assert not path.exists()
        assert all(take_over(writer, index, image, compressed=False) for index, image in enumerate(images))
        writer.publish(writer.finish(card_of(images)))
    assert contents(path) == before


def test_what_was_not_left_whole_is_not_taken_over(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    with WebDatasetWriter(path, 12) as writer:
        for index in range(3):
            append(writer, index, images[index], compressed=True)
        writer.suspend()
    flip(partial_path(path) / "set-000000.tar", 7000)
    with WebDatasetWriter(path, 12, resume=True) as writer:
        assert [take_over(writer, index, images[index], compressed=True) for index in range(4)].count(
            False
        ) == 2


# --------------------------------------------------------------------------- whole or not at all


def test_nothing_appears_before_a_folder_is_whole(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    with WebDatasetWriter(path, 12) as writer:
        append(writer, 0, images[0], compressed=False)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_an_older_folder_stays_until_the_new_one_replaces_it(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    write(path, images[:5])
    with WebDatasetWriter(path, 12) as writer:
        for index, image in enumerate(images):
            append(writer, index, image, compressed=False)
        card = writer.finish(card_of(images))
        assert len(WebDataset(path)) == 5
        writer.publish(card)
    assert len(WebDataset(path)) == 12
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("entry", ["holiday.jpg", "notes/", ".hidden"])
def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path, images: list[Pixels], entry: str) -> None:
    path = tmp_path / "set.wds"
    write(path, images)
    other = path / entry
    other.mkdir() if entry.endswith("/") else other.write_bytes(b"dear to somebody")
    with pytest.raises(DataError, match="must be a WebDataset and nothing else to be replaced"):
        write(path, images)
    assert other.exists()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match=r"must end in \.wds"):
        write(tmp_path / "photos", images)


def test_a_file_is_never_replaced(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    path.write_bytes(b"dear to somebody")
    with pytest.raises(DataError, match="must be a WebDataset and nothing else to be replaced"):
        write(path, images)
    assert path.read_bytes() == b"dear to somebody"


def test_an_older_folder_is_put_back_where_the_writer_was_killed_in_between(
    tmp_path: Path, images: list[Pixels]
) -> None:
    path = tmp_path / "set.wds"
    write(path, images)
    path.replace(tmp_path / ".set.wds.replaced")
    WebDatasetFormat().remove_stale(path)
    assert len(WebDataset(path)) == 12
    shutil.copytree(path, tmp_path / ".set.wds.replaced")
    WebDatasetFormat().remove_stale(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_has_one_writer_at_a_time_and_stale_parts_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "set.wds"
    with WebDatasetWriter(path, 1), pytest.raises(DataError, match="must have one writer at a time"):
        WebDatasetWriter(path, 1)
    with WebDatasetWriter(path, 1) as writer:
        append(writer, 0, noise(0, 4, 4), compressed=False)
        writer.suspend()
    assert partial_path(path).exists()
    FORMATS["wds"]().remove_stale(path)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------- broken folders


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x55]))


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be a folder of tar shards; make one with `trainer convert"):
        open_dataset(tmp_path / "none.wds")
    with pytest.raises(DataError, match=r"must end in \.beton or \.wds"):
        open_dataset(tmp_path / "none.tar")


def test_a_shard_that_is_missing_cut_or_swapped_is_named(mixed: Path) -> None:
    first, second = sorted(mixed.glob("*.tar"))[:2]
    whole = first.read_bytes()
    for size in (0, 511, 512, len(whole) // 2, len(whole) - 1):
        first.write_bytes(whole[:size])
        with pytest.raises(DataError, match=rf"mixed-000000.tar must have {len(whole):,} bytes"):
            WebDataset(mixed)
    first.unlink()
    with pytest.raises(DataError, match=r"mixed-000000.tar must be there"):
        WebDataset(mixed)
    first.write_bytes(second.read_bytes().ljust(len(whole), b"\0")[: len(whole)])
    with pytest.raises(DataError, match=r"mixed-000000.tar must hold sample 0 where the table says"):
        WebDataset(mixed)


def test_a_shard_that_is_cut_is_noticed_without_a_table_too(mixed: Path) -> None:
    (mixed / layout.TABLE).unlink()
    shard = mixed / "mixed-000000.tar"
    whole = shard.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for size in [*range(0, end, 509), end, end + 200]:
        shard.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"mixed-000000\.(tar|idx) must"):
            WebDataset(mixed)
    shard.write_bytes(whole)
    with tarfile.open(shard) as archive:
        headers = [entry.offset for entry in archive]
    assert len(headers) == 4
    for header in headers:
        shard.write_bytes(whole)
        flip(shard, header + 5)
        with pytest.raises(DataError, match=r"mixed-000000\.tar must be a whole tar file"):
            WebDataset(mixed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("v1.2 ", "v1.2 1", 1),
        lambda text: text.replace(" 512 ", " 1024 ", 1),
        lambda text: "\n".join(text.splitlines()[:-1]) + "\n",
        lambda text: "",
        lambda text: "v9 3\n",
    ],
    ids=["count", "offset", "a line less", "empty", "version"],
)
def test_an_index_out_of_step_with_its_shard_is_named(mixed: Path, damage: Callable[[str], str]) -> None:
    index = mixed / "mixed-000000.idx"
    text = index.read_text()
    assert damage(text) != text
    index.write_text(damage(text))
    assert verify(mixed).unaltered is False
    (mixed / layout.TABLE).unlink()
    with pytest.raises(
        DataError, match=r"mixed-000000.idx must say where .*: make it anew with DALI's wds2idx"
    ):
        WebDataset(mixed)


def test_a_damaged_table_is_refused(mixed: Path) -> None:
    table = mixed / layout.TABLE
    whole = table.read_bytes()
    rng, sound = np.random.default_rng(0), 0
    for offset in rng.integers(0, len(whole), 150):
        table.write_bytes(whole)
        flip(table, int(offset))
        with contextlib.suppress(DataError):
            data = WebDataset(mixed)
            # A date or an attribute in the archive's headers: nothing that is used.
            assert [data.name(i) for i in (0, 11)] == ["even/000.img", "odd/011.img"]
            assert (data.image(4) == decode(jpeg(noise(4, 24, 27)))).all()
            sound += 1
    assert sound < 75
    for size in rng.integers(0, len(whole), 20):
        table.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"samples.npz must be a table .* remove it to have it gathered"):
            WebDataset(mixed)


def test_a_table_of_a_newer_schema_is_refused(mixed: Path) -> None:
    with np.load(mixed / layout.TABLE) as table:
        arrays = dict(table)
    arrays["schema"] = np.array(3)
    np.savez(mixed / layout.TABLE, **arrays)
    with pytest.raises(DataError, match="must be of schema 2 or older; got 3: install a newer budgetrain"):
        WebDataset(mixed)


def test_places_outside_of_a_shard_name_their_sample(mixed: Path) -> None:
    with np.load(mixed / layout.TABLE) as table:
        arrays = dict(table)
    for column, value in (
        ("offsets", 1 << 40),
        ("offsets", -1),
        ("sizes", 1 << 40),
        ("shard", 99),
        ("labels", 2),
    ):
        changed = {name: array.copy() for name, array in arrays.items()}
        changed[column].reshape(-1, 12)[0, 5] = value
        np.savez(mixed / layout.TABLE, **changed)
        with pytest.raises(DataError, match=r"sample 5"):
            WebDataset(mixed)


def test_a_changed_byte_names_its_sample(mixed: Path) -> None:
    data = WebDataset(mixed)
    for index in (0, 1):
        path = mixed / f"mixed-{data.shard[index]:06}.tar"
        flip(path, int(data.offsets[index] + data.sizes[index] // 2))
        with pytest.raises(CorruptSampleError, match=rf"mixed\.wds: sample {index} \(.*\) holds other bytes"):
            WebDataset(mixed).image(index)
    verdict = verify(mixed)
    assert sorted(verdict.broken) == [0, 1]
    assert verdict.unaltered is False


def test_more_shards_than_a_process_may_open_are_told_with_the_remedy(
    mixed: Path, no_more_files: Callable[[], AbstractContextManager[None]]
) -> None:
    WebDataset(mixed)
    told = r"must be readable; got Too many open files: let .* `ulimit -n 65536`"
    with no_more_files(), pytest.raises(MachineError, match=told):
        WebDataset(mixed)
    WebDataset(mixed)


def test_a_card_of_another_set_is_refused(mixed: Path) -> None:
    entries = json.loads((mixed / "card.json").read_text())
    entries["samples"], entries["class_counts"] = 13, [7, 6]
    (mixed / "card.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match="must describe its 12 samples; it describes 13: delete the card"):
        WebDataset(mixed)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mixed-000000.idx", "an index of its shard"),
        ("samples.npz", "a table of samples"),
        ("card.json", "a card"),
        ("mixed-000000.tar", "a tar file"),
    ],
)
def test_a_folder_in_place_of_a_file_is_one_line_that_names_it_once(
    mixed: Path, name: str, wanted: str
) -> None:
    if name != "samples.npz":
        (mixed / "samples.npz").unlink()
    (mixed / name).unlink()
    (mixed / name).mkdir()
    with pytest.raises(DataError) as caught:
        WebDataset(mixed)
    said = str(caught.value)
    assert said.startswith(
        f"{mixed / name} must be {wanted} that can be read; it can't be (Is a directory): "
    )
    assert said.count(name) == 1
    assert "\n" not in said


def test_a_shard_that_can_not_be_reached_is_not_said_to_be_missing(mixed: Path) -> None:
    shard = mixed / "mixed-000000.tar"
    shard.unlink()
    with pytest.raises(DataError, match=r"000000\.tar must be there, a shard of its folder; it is missing"):
        WebDataset(mixed)
    shard.symlink_to(shard.name)
    with pytest.raises(
        DataError, match=r"000000\.tar must be a shard .* \(Too many levels of symbolic links"
    ):
        WebDataset(mixed)
