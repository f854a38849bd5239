"""FFCV files: what is written is read, and samples lie in pages."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from beton_files import CARD, jpeg, write
from drawn_sets import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import DataError
from pipeline.formats import Sample, StoredImage, layout, open_dataset
from pipeline.formats.beton_writer import BetonWriter


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
        assert data.data[start : start + size].tobytes() == stored == data.encoded(index)  # type: ignore[attr-defined]
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
    page = int(np.frombuffer(data.data, layout.HEADER, 1)["page_size"][0])  # type: ignore[attr-defined]
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
