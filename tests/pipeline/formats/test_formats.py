"""Data files: round trips, FFCV on either side, and every way in which a file can be broken."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import Beton, Sample, StoredImage, card_path, layout, open_dataset
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.card import Card, HeldOut
from pipeline.formats.parallel import in_order
from pipeline.formats.sheet import contact_sheet
from pipeline.formats.statistics import PixelSums
from pipeline.formats.verify import verify
from pipeline.formats.whole import PartialFile, partial_path, write_whole

Pixels = NDArray[np.uint8]

CARD = Card(
    name="noise",
    split="train",
    samples=1,
    classes=("even", "odd"),
    class_counts=(1, 0),
    height=None,
    width=None,
    min_height=1,
    max_height=1,
    min_width=1,
    max_width=1,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    encoding="mixed",
    quality=90,
    source="noise",
)


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def jpeg(image: Pixels) -> bytes:
    """Encode an image; one whose channels are equal becomes a grey JPEG."""
    grey = (image == image[:, :, :1]).all()
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if grey else image).save(file, "JPEG", quality=90)
    return file.getvalue()


def write(
    path: Path, images: Sequence[Pixels], compressed: Callable[[int], bool] = lambda index: False
) -> Card:
    labels = [index % 2 for index in range(len(images))]
    card = replace(CARD, samples=len(images), class_counts=(labels.count(0), labels.count(1)))
    with BetonWriter(path, len(images)) as writer:
        for index, image in enumerate(images):
            content = jpeg(image) if compressed(index) else image.tobytes()
            full = StoredImage.of(content, image.shape[0], image.shape[1])
            name = f"{CARD.classes[labels[index]]}/{index:03}.img"
            writer.append(Sample([full], compressed(index), labels[index], name))
        card = writer.finish(card)
        writer.publish(card)
    return card


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """20 raw images of 6 x 5 pixels."""
    path = tmp_path / "raw.beton"
    write(path, [noise(index, 6, 5) for index in range(20)])
    return path


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    """8 JPEGs of 40 x 30 pixels."""
    path = tmp_path / "jpeg.beton"
    write(path, [noise(index, 40, 30) for index in range(8)], lambda index: True)
    return path


def patch(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def row_offset(index: int, column: str) -> int:
    """Where sample ``index``'s metadata has ``column``, in a file with image and label."""
    row = layout.metadata_type([layout.IMAGE_TYPE, layout.INT_TYPE])
    start = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + index * row.itemsize
    if column == "label":
        return start + row.fields["f1"][1]
    return start + row.fields["f0"][1] + layout.IMAGE.fields[column][1]


# ---------------------------------------------------------------------------------------- round trips


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=12),
    modes=st.integers(0, 2**12 - 1),
)
def test_what_is_written_is_read(tmp_path: Path, shapes: list[tuple[int, int]], modes: int) -> None:
    path = tmp_path / "some.beton"
    images = [noise(index, *shape) for index, shape in enumerate(shapes)]
    as_jpeg = [bool(modes >> index & 1) for index in range(len(images))]
    card = write(path, images, lambda index: as_jpeg[index])
    data = open_dataset(path)
    assert data.card == card
    assert data.compressed.tolist() == as_jpeg
    assert data.labels.tolist() == [index % 2 for index in range(len(images))]
    assert list(zip(data.heights, data.widths, strict=True)) == shapes
    for index, image in enumerate(images):
        stored = jpeg(image) if as_jpeg[index] else image.tobytes()
        start, size = data.offsets[index], data.sizes[index]
        assert data.data[start : start + size].tobytes() == stored == data.encoded(index)
        shown = np.array(Image.open(io.BytesIO(stored)).convert("RGB")) if as_jpeg[index] else image
        np.testing.assert_array_equal(data.image(index), shown)
        assert data.name(index) == f"{CARD.classes[index % 2]}/{index:03}.img"


def test_an_image_is_a_copy_that_may_be_written_to(raw: Path) -> None:
    data = open_dataset(raw)
    data.image(3)[:] = 0
    np.testing.assert_array_equal(data.image(3), noise(3, 6, 5))


def test_no_sample_crosses_a_page_and_pages_grow_to_the_largest_sample(tmp_path: Path) -> None:
    path = tmp_path / "large.beton"
    images = [noise(0, 900, 1100)] * 4 + [noise(1, 1700, 1800), noise(2, 900, 1100)]
    write(path, images)
    data = open_dataset(path)
    page = int(np.frombuffer(data.data, layout.HEADER, 1)["page_size"][0])
    assert page == 2 * layout.PAGE_SIZE >= data.sizes.max()
    np.testing.assert_array_equal(data.offsets // page, (data.offsets + data.sizes - 1) // page)
    np.testing.assert_array_equal(data.image(4), images[4])
    np.testing.assert_array_equal(data.image(5), images[5])


@settings(max_examples=60, deadline=None)
@given(
    images=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 3 * layout.PAGE_SIZE)), min_size=1, max_size=40
    ),
    start=st.integers(1, 3 * layout.PAGE_SIZE),
)
def test_runs_of_images_fill_pages_of_their_own(images: list[tuple[int, int]], start: int) -> None:
    pages = layout.Pages(start, 3)
    places = sorted((pages.place(run, size), size, run) for run, size in images)
    assert places[0][0] >= start
    assert pages.used == max(place + size for place, size, _ in places)
    owners: dict[int, int] = {}
    for (place, size, run), after in zip(places, [*places[1:], (1 << 62, 0, 0)], strict=True):
        assert place + size <= after[0]
        assert place // pages.size == (place + size - 1) // pages.size
        assert owners.setdefault(place // layout.PAGE_SIZE, run) == run


def test_an_image_larger_than_the_format_holds_is_refused(tmp_path: Path) -> None:
    message = "at most 65,535 pixels a side .* wide.png has 1x65,536 pixels .* max_resolution"
    wide = Sample([StoredImage.of(b"", 1, 65_536)], True, 0, "wide.png")
    with BetonWriter(tmp_path / "wide.beton", 1) as writer, pytest.raises(DataError, match=message):
        writer.append(wide)
    assert list(tmp_path.iterdir()) == []


def test_a_file_pickles_as_its_path(raw: Path) -> None:
    pickled = pickle.dumps(open_dataset(raw))
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).image(7), noise(7, 6, 5))


def test_the_digest_is_that_of_the_file(raw: Path) -> None:
    assert open_dataset(raw).card.digest == hashlib.sha256(raw.read_bytes()).hexdigest()


# ------------------------------------------------------------------------------------------- the card


def test_a_card_goes_through_json_unchanged(tmp_path: Path) -> None:
    card = replace(
        CARD,
        classes=("naïve", "a, b"),
        height=3,
        max_resolution=12,
        held_out=HeldOut("validation", 0.1, 7),
        mean=(0.1, 1 / 3, 0.3),
    )
    assert Card.from_json(card.to_json(), tmp_path) == card


def test_without_the_card_beside_it_a_file_speaks_for_itself(raw: Path) -> None:
    card = open_dataset(raw).card
    card_path(raw).unlink()
    assert open_dataset(raw).card == replace(card, digest=None, created_by="")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: "{", "must be JSON"),
        (lambda entries: "[]", "must be a card of schema 2 or older; got list"),
        (lambda entries: json.dumps(entries | {"schema": 9}), "must be a card of schema 2 or older; got 9"),
        (
            lambda entries: json.dumps({"schema": 1}),
            "a card; it lacks name, split, .*, source: delete the card",
        ),
        (lambda entries: json.dumps(entries | {"classes": 3}), "its classes must be a list of texts; got 3"),
        (
            lambda entries: json.dumps(entries | {"held_out": {"part": "x"}}),
            "its held_out must be null, or part, fraction and seed of a validation split; got {'part': 'x'}",
        ),
        (
            lambda entries: json.dumps(entries | {"class_counts": [10]}),
            r"class_counts has 1 counts \(10 in all\)",
        ),
        (
            lambda entries: json.dumps(entries | {"mean": [0.5]}),
            r"its mean must be 3 numbers from 0 to 1; got \[0\.5\]",
        ),
        (
            lambda entries: json.dumps(entries | {"samples": 4, "class_counts": [2, 2]}),
            "which hold another samples",
        ),
    ],
)
def test_a_card_that_is_none_is_refused(
    raw: Path, change: Callable[[dict[str, object]], str], message: str
) -> None:
    beside = card_path(raw)
    beside.write_text(change(json.loads(beside.read_text())))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(raw)
    assert "\n" not in str(caught.value)
    assert "delete the card" in str(caught.value)


def test_a_card_that_is_no_text_is_refused(raw: Path) -> None:
    card_path(raw).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        DataError, match=r"raw\.card\.json must be UTF-8 text; got .*: delete the card to have"
    ):
        open_dataset(raw)
    card_path(raw).unlink()
    card_path(raw).mkdir()
    with pytest.raises(
        DataError, match=r"raw\.card\.json must be .* it can't be \(Is a directory\): delete the"
    ):
        open_dataset(raw)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=9),
    cut=st.integers(0, 9),
)
def test_pixel_sums_are_exact_however_they_are_shared_out(sizes: list[tuple[int, int]], cut: int) -> None:
    images = [noise(index, *size) for index, size in enumerate(sizes)]
    one, two = PixelSums(), PixelSums()
    for index, image in enumerate(images):
        (one if index < cut else two).add(image)
    one.merge(two)
    mean, std = one.mean_and_std()
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-9, atol=1e-12)


def test_pixel_sums_count_large_images_as_well_as_small_ones() -> None:
    large, small = noise(0, 300, 400), noise(1, 5, 5)
    sums = PixelSums()
    for image in (small, large, small):
        sums.add(image)
    pixels = np.concatenate([image.reshape(-1, 3) for image in (small, large, small)]) / 255
    np.testing.assert_allclose(sums.mean_and_std(), (pixels.mean(0), pixels.std(0)), rtol=1e-12)


# ----------------------------------------------------------------------------------- FFCV reads and writes

# FFCV runs in processes of its own: it forks, leaves threads behind, and warns.
FFCV_READS = """
import sys
import numpy as np
from ffcv.loader import Loader, OrderOption
target, *paths = sys.argv[1:]
found = {}
for path in paths:
    for os_cache in (True, False):
        options = {"num_workers": 1, "os_cache": os_cache, "order": OrderOption.SEQUENTIAL}
        loader = Loader(path, 4, **options)
        batches = [(np.array(images), np.array(labels)) for images, labels in loader]
        found[f"{path} {os_cache} images"] = np.concatenate([images for images, _ in batches])
        found[f"{path} {os_cache} labels"] = np.concatenate([labels for _, labels in batches])
np.savez(target, **found)
"""

FFCV_WRITES = """
import sys
import numpy as np
from ffcv.fields import FloatField, IntField, JSONField, NDArrayField, RGBImageField
from ffcv.writer import DatasetWriter

class Ramps:
    def __init__(self, more): self.more = more
    def __len__(self): return 250
    def __getitem__(self, index):
        axes = np.ogrid[:32, :24, :3]
        image = (2 * axes[0] + axes[1] + 20 * axes[2] + index // 2).astype(np.uint8)
        return (0.5, image, {"a": 1}, index % 7, np.zeros(3, np.float32)) if self.more else (image, index % 7)

for path, mode, more in ((sys.argv[1], "raw", False), (sys.argv[2], "proportion", True)):
    fields = {"image": RGBImageField(mode), "label": IntField()}
    if more:
        fields = {"weight": FloatField(), "picture": fields["image"], "extra": JSONField(),
                  "class": fields["label"], "vector": NDArrayField(np.dtype("float32"), (3,))}
    DatasetWriter(path, fields, num_workers=2).from_indexed_dataset(Ramps(more), chunksize=20)
"""


def run_ffcv(script: str, *arguments: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def test_ffcvs_loader_reads_our_files(tmp_path: Path) -> None:
    raw_path, jpeg_path = tmp_path / "raw.beton", tmp_path / "jpeg.beton"
    # Four of these fill a page, so there are three.
    large = [noise(index, 700, 900) for index in range(12)]
    # Smooth, so that two JPEG decoders agree to within rounding; the first is grey.
    rows, columns, channels = np.ogrid[:32, :24, :3]
    ramps = [(4 * rows + 3 * columns + 5 * index * channels).astype(np.uint8) for index in range(8)]
    write(raw_path, large)
    write(jpeg_path, ramps, lambda index: True)
    assert open_dataset(raw_path).offsets.max() > 2 * layout.PAGE_SIZE
    run_ffcv(FFCV_READS, tmp_path / "found.npz", raw_path, jpeg_path)
    with np.load(tmp_path / "found.npz") as found:
        for os_cache in (True, False):
            np.testing.assert_array_equal(found[f"{raw_path} {os_cache} images"], np.stack(large))
            ours = np.stack([open_dataset(jpeg_path).image(index) for index in range(8)])
            np.testing.assert_allclose(found[f"{jpeg_path} {os_cache} images"], ours.astype(int), atol=3)
            for path in (raw_path, jpeg_path):
                assert (
                    found[f"{path} {os_cache} labels"].ravel().tolist() == open_dataset(path).labels.tolist()
                )


def test_files_that_ffcv_wrote_are_read(tmp_path: Path) -> None:
    raw_path, mixed_path = tmp_path / "raw.beton", tmp_path / "mixed.beton"
    run_ffcv(FFCV_WRITES, raw_path, mixed_path)
    rows, columns, channels = np.ogrid[:32, :24, :3]
    images = [2 * rows + columns + 20 * channels + index // 2 for index in range(250)]
    for path in (raw_path, mixed_path):
        data = open_dataset(path)
        assert data.labels.tolist() == [index % 7 for index in range(250)]
        assert data.card.classes == tuple("0123456")
        assert data.card.class_counts == tuple(np.bincount(data.labels))
        assert (data.card.height, data.card.width, data.card.digest) == (32, 24, None)
        assert data.name(17) == "sample 17"
        assert verify(path).unaltered is None
        assert verify(path).sound
        for index in np.flatnonzero(~data.compressed):
            np.testing.assert_array_equal(data.image(int(index)), images[index])
        shown = np.stack([data.image(index) for index in range(250)]) / 255
        np.testing.assert_allclose(data.card.mean, shown.mean((0, 1, 2)), rtol=1e-9)
        np.testing.assert_allclose(data.card.std, shown.std((0, 1, 2)), rtol=1e-9)
    assert open_dataset(raw_path).card.encoding == "raw"
    data = open_dataset(mixed_path)
    assert data.card.encoding == "mixed"
    for index in np.flatnonzero(data.compressed):
        np.testing.assert_allclose(data.image(int(index)), images[index], atol=6)


# ----------------------------------------------------------------------------------------- broken files


def test_a_missing_file_and_an_unknown_ending_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must exist; make it with `trainer convert"):
        open_dataset(tmp_path / "none.beton")
    with pytest.raises(DataError, match=r"must end in .beton or .wds; got .*none.zip"):
        open_dataset(tmp_path / "none.zip")
    (tmp_path / "folder.beton").mkdir()
    with pytest.raises(DataError, match=r"folder\.beton must be a \.beton file; got a folder: name a file"):
        open_dataset(tmp_path / "folder.beton")
    (tmp_path / "round.beton").symlink_to(tmp_path / "round.beton")
    with pytest.raises(DataError, match=r"it can't be \(Too many levels of symbolic links\): mend its perm"):
        open_dataset(tmp_path / "round.beton")


def test_another_kind_of_file_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "picture.beton"
    Image.fromarray(noise(0, 50, 50)).save(path, "PNG")
    with pytest.raises(
        DataError, match=r"must be a .beton file of version 2; its first bytes say version 20617"
    ):
        open_dataset(path)
    path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"\.beton must start with a header of 24 bytes; it has 0: get or"
    ) as caught:
        open_dataset(path)
    assert str(caught.value).count("picture.beton") == 1
    path.write_bytes(b"\2")
    with pytest.raises(DataError, match="a header of 24 bytes; it has 1"):
        open_dataset(path)


def test_an_unfinished_file_is_told_apart(raw: Path) -> None:
    patch(raw, layout.HEADER.fields["alloc_table_ptr"][1], bytes(8))
    with pytest.raises(DataError, match="finished file; its writer was stopped"):
        open_dataset(raw)


def test_a_file_without_samples_is_refused(raw: Path) -> None:
    patch(raw, layout.HEADER.fields["num_samples"][1], bytes(8))
    with pytest.raises(DataError, match="at least 1 sample"):
        open_dataset(raw)


def test_a_file_cut_anywhere_is_refused(raw: Path, compressed: Path) -> None:
    for path in (raw, compressed):
        whole = path.read_bytes()
        first = int(open_dataset(path).offsets[0])
        inside = np.random.default_rng(0).integers(first, len(whole), 40)
        for size in (*inside.tolist(), 0, 10, 24, 100, 2000, 2200, first, len(whole) - 24, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(DataError, match=r"cut off|header of 24 bytes"):
                open_dataset(path)


def test_absurd_counts_are_refused_before_memory_is_asked_for(raw: Path) -> None:
    patch(raw, layout.HEADER.fields["num_samples"][1], b"\xff" * 7 + b"\x7f")
    with pytest.raises(DataError, match="cut off or damaged"):
        open_dataset(raw)


@pytest.mark.parametrize(
    ("column", "content", "fault"),
    [
        ("data_ptr", (1 << 62).to_bytes(8, "little"), "allocation table doesn't know"),
        ("data_ptr", (12).to_bytes(8, "little"), "allocation table doesn't know"),
        ("mode", b"\x07", "neither JPEG nor raw"),
        ("width", b"\x00\x00", "has no pixels"),
        ("height", b"\x09\x00", "another number of bytes than its shape needs"),
        ("label", (2).to_bytes(8, "little"), "has label 2, and there are 2 classes"),
        ("label", b"\xff" * 8, "has label -1, and there are 2 classes"),
    ],
)
def test_a_broken_row_names_its_sample(raw: Path, column: str, content: bytes, fault: str) -> None:
    patch(raw, row_offset(5, column), content)
    with pytest.raises(CorruptSampleError, match=fault) as caught:
        open_dataset(raw)
    assert f"{raw}: sample 5 (odd/005.img)" in str(caught.value)
    verdict = verify(raw)
    assert list(verdict.broken) == [5]
    assert not verdict.sound
    np.testing.assert_array_equal(Beton(raw, lenient=True).image(6), noise(6, 6, 5))


def test_a_table_that_points_outside_of_the_file_names_its_sample(raw: Path) -> None:
    table = int(np.frombuffer(raw.read_bytes(), layout.HEADER, 1)["alloc_table_ptr"][0])
    entry = table + 2 * layout.ALLOCATION.itemsize
    patch(raw, entry + layout.ALLOCATION.fields["size"][1], (1 << 40).to_bytes(8, "little"))
    with pytest.raises(CorruptSampleError, match=r"sample 2 \(even/002.img\) points outside of the file's"):
        open_dataset(raw)
    far = (1 << 50).to_bytes(8, "little")
    patch(raw, entry + layout.ALLOCATION.fields["ptr"][1], far)
    patch(raw, row_offset(2, "data_ptr"), far)
    with pytest.raises(CorruptSampleError, match=r"sample 2 .* points outside of the file's"):
        open_dataset(raw)


def test_a_label_changed_to_another_class_is_noticed(raw: Path) -> None:
    patch(raw, row_offset(5, "label"), (0).to_bytes(8, "little"))
    with pytest.raises(DataError, match="labels, shapes and card as they were written"):
        open_dataset(raw)
    assert verify(raw).broken == {}
    assert verify(raw).unaltered is False
    card_path(raw).unlink()
    assert verify(raw).unaltered is False


@pytest.mark.parametrize("kind", ["raw", "compressed"])
def test_a_changed_byte_of_an_image_names_its_sample(kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    data = open_dataset(path)
    place = int(data.offsets[4] + data.sizes[4] // 2)
    patch(path, place, bytes([data.data[place] ^ 1]))
    data = open_dataset(path)
    with pytest.raises(
        CorruptSampleError, match=r"sample 4 \(even/004.img\) holds other bytes than were written"
    ):
        data.image(4)
    data.image(3)
    assert {index: name for index, (name, _) in verify(path).broken.items()} == {4: "even/004.img"}


def test_damaged_jpegs_of_a_file_without_checksums_are_named(tmp_path: Path) -> None:
    path = tmp_path / "plain.beton"
    images = [noise(index, 40, 30) for index in range(4)]
    card = replace(CARD, samples=4, class_counts=(4, 0))
    contents = [jpeg(image) for image in images]
    contents[1] = contents[1][: len(contents[1]) // 2]
    contents[2] = jpeg(images[2][:-8])
    with BetonWriter(path, 4) as writer:
        for content in contents:
            # The checksum holds: what is wrong was wrong before.
            full = StoredImage.of(content, 40, 30)
            writer.append(Sample([full], True, 0, "x"))
        writer.publish(writer.finish(card))
    data = open_dataset(path)
    with pytest.raises(CorruptSampleError, match="can't be decoded"):
        data.image(1)
    with pytest.raises(CorruptSampleError, match="is 32x30, and the file says 40x30"):
        data.image(2)
    assert list(verify(path).broken) == [1, 2]


@pytest.mark.parametrize("kind", ["raw", "compressed"])
def test_damage_anywhere_gives_an_error_or_the_right_images(
    kind: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kind)
    whole, card = path.read_bytes(), open_dataset(path).card
    data = open_dataset(path)
    right, labels = [data.image(index) for index in range(len(data))], data.labels
    random = np.random.default_rng(1)
    # Most of the file is padding to a page: aim at the rest.
    frame = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + 24 * len(right)
    places = np.concatenate(
        (
            random.integers(0, 60, 40),
            random.integers(0, frame, 80),
            random.integers(data.offsets[0], len(whole), 120),
        )
    )
    said = []
    for place in places.tolist():
        damaged = bytearray(whole)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            data = open_dataset(path)
            assert (data.card, data.labels.tolist()) == (card, labels.tolist())
            for index, image in enumerate(right):
                np.testing.assert_array_equal(data.image(index), image)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 120
    assert not any("\n" in line for line in said)


def test_a_sample_outside_of_the_file_is_refused(raw: Path) -> None:
    data = open_dataset(raw)
    for index in (-1, 20):
        with pytest.raises(DataError, match=f"must be one of 0 to 19; got {index}"):
            data.image(index)
        with pytest.raises(DataError, match=f"must be one of 0 to 19; got {index}"):
            data.name(index)


def test_files_of_other_fields_are_refused(raw: Path) -> None:
    second = layout.HEADER.itemsize + layout.FIELD.itemsize
    patch(raw, second, bytes([0]))
    with pytest.raises(
        DataError, match="hold the targets that its card states, 2 classes; it holds value of"
    ):
        open_dataset(raw)
    patch(raw, second, bytes([3]))
    with pytest.raises(
        DataError,
        match=r"one field `label` of FFCV's type 1 or 0 or 4 or 6; its fields are image \(type 2\), label",
    ):
        open_dataset(raw)
    patch(raw, second, bytes([255]))
    with pytest.raises(DataError, match="fields of FFCV's own types only; got type 255"):
        open_dataset(raw)


# ------------------------------------------------------------------------------- whole files and threads


def test_nothing_appears_before_a_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.beton"
    with BetonWriter(path, 2) as writer:
        full = StoredImage.of(bytes(3), 1, 1)
        writer.append(Sample([full], False, 0, "x"))
        assert not path.exists()
        assert partial_path(path).exists()
    assert list(path.parent.iterdir()) == []


def test_a_file_has_one_writer_at_a_time_and_stale_parts_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with PartialFile(path), pytest.raises(DataError, match="one writer at a time"):
        PartialFile(path)
    partial_path(path).write_bytes(b"left behind by one that was killed")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="can't be written: "):
        BetonWriter(tmp_path / "file" / "x.beton", 1)


def test_results_come_in_order_and_the_first_error_at_its_turn() -> None:
    def work(number: int) -> int:
        if number in (7, 9):
            raise ValueError(f"work {number}")
        return number * number

    assert list(in_order(work, range(7), 3)) == [number * number for number in range(7)]
    results = in_order(work, range(100), 3)
    assert [next(results) for _ in range(7)] == [number * number for number in range(7)]
    with pytest.raises(ValueError, match="work 7"):
        next(results)


def test_works_wait_for_a_slow_taker() -> None:
    started: list[int] = []
    results = in_order(started.append, range(100), 2)
    next(results)
    assert len(started) <= 5
    results.close()


# -------------------------------------------------------------------------------------- contact sheets


@pytest.mark.parametrize("classes", [1, 10, 60, 300])
def test_a_contact_sheet_shows_every_class_or_an_even_choice(tmp_path: Path, classes: int) -> None:
    path = tmp_path / "x.beton"
    colours = np.random.default_rng(0).integers(0, 256, (classes, 3), dtype=np.uint8)
    card = replace(
        CARD,
        samples=classes,
        classes=tuple(
            f"class {label} with a name that is much too long for its place" for label in range(classes)
        ),
        class_counts=(1,) * classes,
        max_height=8,
        max_width=8,
    )
    with BetonWriter(path, classes) as writer:
        for label, colour in enumerate(colours):
            content = np.full((8, 8, 3), colour).tobytes()
            full = StoredImage.of(content, 8, 8)
            writer.append(Sample([full], False, label, "x"))
        writer.publish(writer.finish(card))
    contact_sheet(open_dataset(path), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as sheet:
        codes = np.array(sheet).reshape(-1, 3).astype(int) @ [65536, 256, 1]
    shown = {
        int(code) for code, count in zip(*np.unique(codes, return_counts=True), strict=True) if count >= 4096
    }
    wanted = {int(code) for code in colours.astype(int) @ [65536, 256, 1]}
    assert len(shown & wanted) == min(classes, 200)


def test_a_contact_sheet_copes_with_any_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.beton"
    images = [noise(0, 1, 1), noise(1, 500, 3), noise(2, 2, 900), noise(3, 64, 64)]
    write(path, images)
    data = open_dataset(path)
    data.card = replace(data.card, max_height=500, max_width=900)
    contact_sheet(data, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.size[0] >= 560
