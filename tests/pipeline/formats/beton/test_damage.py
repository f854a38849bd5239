"""FFCV files that are broken in every way: named, with what helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beton_files import CARD, jpeg
from drawn_sets import noise
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import Beton, Sample, StoredImage, card_path, layout, open_dataset
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.verify import verify


def patch(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def row_offset(index: int, column: str) -> int:
    """Where sample ``index``'s metadata has ``column``, in a file with image and label."""
    row = layout.metadata_type([layout.IMAGE_TYPE, layout.INT_TYPE])
    start = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + index * row.itemsize
    if column == "label":
        return start + row.fields["f1"][1]  # type: ignore[index]
    return start + row.fields["f0"][1] + layout.IMAGE.fields[column][1]  # type: ignore[index]


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
    patch(raw, layout.HEADER.fields["alloc_table_ptr"][1], bytes(8))  # type: ignore[index]
    with pytest.raises(DataError, match="finished file; its writer was stopped"):
        open_dataset(raw)


def test_a_file_without_samples_is_refused(raw: Path) -> None:
    patch(raw, layout.HEADER.fields["num_samples"][1], bytes(8))  # type: ignore[index]
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
    patch(raw, layout.HEADER.fields["num_samples"][1], b"\xff" * 7 + b"\x7f")  # type: ignore[index]
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
    patch(raw, entry + layout.ALLOCATION.fields["size"][1], (1 << 40).to_bytes(8, "little"))  # type: ignore[index]
    with pytest.raises(CorruptSampleError, match=r"sample 2 \(even/002.img\) points outside of the file's"):
        open_dataset(raw)
    far = (1 << 50).to_bytes(8, "little")
    patch(raw, entry + layout.ALLOCATION.fields["ptr"][1], far)  # type: ignore[index]
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
    patch(path, place, bytes([data.data[place] ^ 1]))  # type: ignore[attr-defined]
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
