"""Data sets that hold every image at several sizes."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import Beton, layout, open_dataset
from pipeline.formats.verify import verify
from pipeline.sources import ArraySource, ImageFolder
from pipeline.sources.store import fit

SHAPES = [(300, 200), (150, 400), (90, 90), (1, 1), (3, 700), (96, 120)]


def smooth(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return an image without detail, which any two decoders and resizers agree on."""
    rows, columns, channels = np.ogrid[:height, :width, :3]
    return (rows * 90 / height + columns * 90 / width + 20 * channels + 3 * (seed % 5)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> ImageFolder:
    """Images of six sizes, in turn PNG and JPEG."""
    for index in range(12):
        path = tmp_path / "set" / "ab"[index % 2] / f"{index:02}.{('png', 'jpg')[index % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(index, *SHAPES[index % 6])).save(path)
    return ImageFolder(tmp_path / "set")


def wanted(shape: tuple[int, int], level: int) -> tuple[int, int]:
    shorter = min(shape)
    if shorter <= level:
        return shape
    return round(shape[0] * level / shorter), round(shape[1] * level / shorter)


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "proportion"])
def test_every_image_is_there_at_every_level(folder: ImageFolder, tmp_path: Path, encoding: str) -> None:
    out = tmp_path / "x.beton"
    card = convert(folder, out, ConvertOptions(encoding=encoding, levels=(32, 96)))  # type: ignore[arg-type]
    full = open_dataset(out)
    assert (full.levels, card.levels, full.card) == ((32, 96), (32, 96), card)
    for level in full.levels:
        small = full.at(level)
        assert small.labels.tolist() == full.labels.tolist()
        assert small.compressed.tolist() == full.compressed.tolist()
        assert small.levels == full.levels
        assert (small.card.mean, small.card.samples) == (card.mean, 12)
        assert small.card.max_height == small.heights.max() < card.max_height
        for index in range(12):
            original = folder.read(index)
            shape = wanted(original.shape[:2], level)
            assert (small.heights[index], small.widths[index]) == shape
            assert small.name(index) == folder.sample_name(index)
            resized = Image.fromarray(original).resize(shape[::-1], Image.Resampling.BICUBIC)
            exact = encoding == "raw" or not full.compressed[index]
            np.testing.assert_allclose(small.image(index), np.asarray(resized, int), atol=0 if exact else 8)
            if shape == original.shape[:2]:
                assert small.encoded(index) == full.encoded(index)
                assert small.offsets[index] == full.offsets[index]
    assert verify(out).sound


def test_the_levels_of_squares_are_the_squares_of_that_size(folder: ImageFolder, tmp_path: Path) -> None:
    convert(folder, tmp_path / "x.beton", ConvertOptions(encoding="raw", square=128, levels=(16, 64)))
    full = open_dataset(tmp_path / "x.beton")
    for level in (16, 64):
        convert(folder, tmp_path / f"{level}.beton", ConvertOptions(encoding="raw", square=level))
        alone, small = open_dataset(tmp_path / f"{level}.beton"), full.at(level)
        assert (small.card.height, small.card.width) == (level, level)
        for index in range(12):
            np.testing.assert_array_equal(small.image(index), alone.image(index))
            np.testing.assert_array_equal(small.image(index), fit(folder.read(index), None, level))


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 400), width=st.integers(1, 400), cap=st.integers(9, 400), level=st.integers(1, 8)
)
def test_a_level_has_the_shape_of_the_image_in_full(height: int, width: int, cap: int, level: int) -> None:
    from pipeline.sources.store import Storage, store

    source = ArraySource("x", "train", "x", ("a",), np.zeros(1, int), smooth(0, height, width)[None])
    stored, pixels = store(source, 0, Storage(np.zeros(1, bool), 90, False, cap, None, (level,)))
    small = stored.images[1]
    assert (small.height, small.width) == wanted(pixels.shape[:2], level)
    assert min(small.height, small.width) == min(level, *pixels.shape[:2])


def test_levels_lie_apart_and_no_image_crosses_a_page(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 700, 700, 3), dtype=np.uint8)
    source = ArraySource("x", "train", "x", ("a",), np.zeros(30, np.int64), images)
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding="raw", levels=(64, 500)))
    data = open_dataset(tmp_path / "x.beton")
    pages = []
    for view in (data, data.at(64), data.at(500)):
        first, last = view.offsets // layout.PAGE_SIZE, (view.offsets + view.sizes - 1) // layout.PAGE_SIZE
        np.testing.assert_array_equal(first, last)
        pages.append(set(first.tolist()))
    assert [len(used) for used in pages] == [6, 1, 3]
    assert not pages[0] & pages[1] | pages[1] & pages[2] | pages[0] & pages[2]


def test_a_level_that_is_not_there_is_refused(folder: ImageFolder, tmp_path: Path) -> None:
    convert(folder, tmp_path / "x.beton", ConvertOptions(levels=(32,)))
    with pytest.raises(DataError, match=r"must be one that it holds: \(32,\); got 33: convert with --levels"):
        open_dataset(tmp_path / "x.beton").at(33)
    convert(folder, tmp_path / "y.beton", ConvertOptions())
    assert open_dataset(tmp_path / "y.beton").levels == ()


def test_a_level_pickles_as_its_path(folder: ImageFolder, tmp_path: Path) -> None:
    convert(folder, tmp_path / "x.beton", ConvertOptions(levels=(32,)))
    small = open_dataset(tmp_path / "x.beton").at(32)
    pickled = pickle.dumps(small)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).image(0), small.image(0))


def test_a_changed_byte_of_a_level_names_sample_and_level(folder: ImageFolder, tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    convert(folder, out, ConvertOptions(levels=(32,)))
    small = open_dataset(out).at(32)
    assert isinstance(small, Beton)
    place = int(small.offsets[6] + small.sizes[6] // 2)
    content = bytearray(out.read_bytes())
    content[place] ^= 1
    out.write_bytes(content)
    with pytest.raises(CorruptSampleError, match=r"sample 6 \(b/01.jpg\) at level 32 holds other bytes"):
        open_dataset(out).at(32).image(6)
    open_dataset(out).image(6)
    verdict = verify(out)
    assert verdict.broken == {
        6: ("b/01.jpg", "at level 32 holds other bytes than were written (its checksum differs)")
    }


# FFCV runs in a process of its own: it forks, leaves threads behind, and warns.
FFCV_READS = """
import sys
import numpy as np
from ffcv.loader import Loader, OrderOption
found = {}
for path, os_cache in ((sys.argv[2], True), (sys.argv[3], False)):
    loader = Loader(path, 4, num_workers=1, os_cache=os_cache, order=OrderOption.SEQUENTIAL)
    batches = [[np.array(part) for part in batch] for batch in loader]
    for number in range(len(batches[0])):
        found[f"{path} {number}"] = np.concatenate([batch[number] for batch in batches])
np.savez(sys.argv[1], **found)
"""


def test_ffcvs_loader_reads_every_level(tmp_path: Path) -> None:
    images = np.stack([smooth(index, 128, 128) for index in range(24)])
    source = ArraySource("x", "train", "x", ("a", "b"), np.arange(24) % 2, images)
    raw, jpeg = tmp_path / "raw.beton", tmp_path / "jpeg.beton"
    convert(source, raw, ConvertOptions(encoding="raw", square=128, levels=(48, 96)))
    # No image is larger than the second level, which so shares the bytes of the full size.
    convert(source, jpeg, ConvertOptions(encoding="jpeg", levels=(48, 200)))
    # FFCV compiles for 7 s what takes milliseconds as Python; beton/test_ffcv.py has it compiled.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FFCV_READS, tmp_path / "found.npz", raw, jpeg],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for path, tolerance in ((raw, 0), (jpeg, 3)):
            data = open_dataset(path)
            assert found[f"{path} 1"].ravel().tolist() == data.labels.tolist()
            for number, view in (
                (0, data),
                *((2 + i, data.at(level)) for i, level in enumerate(data.levels)),
            ):
                ours = np.stack([view.image(index) for index in range(24)])
                np.testing.assert_allclose(found[f"{path} {number}"], ours.astype(int), atol=tolerance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (0, 8)}, "levels must be different sizes of at least 1, ascending; got 0,8"),
        ({"levels": (8, 8)}, "levels must be different sizes of at least 1, ascending; got 8,8"),
        ({"levels": tuple(range(1, 102))}, "levels must be at most 100 sizes; got 101: leave some out"),
        ({"levels": (8, 65_536)}, "levels must be at most 65,535 pixels; got 8,65536: leave out those above"),
        ({"levels": (9, 8)}, "levels must be different sizes of at least 1, ascending; got 9,8"),
        ({"levels": (8, 64), "square": 64}, "levels must be below the full size of 64; got 8,64"),
        ({"levels": (65,), "max_resolution": 64}, "levels must be below the full size of 64; got 65"),
    ],
)
def test_levels_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ConvertOptions(**options)  # type: ignore[arg-type]


def test_a_jpeg_level_is_a_jpeg(folder: ImageFolder, tmp_path: Path) -> None:
    convert(folder, tmp_path / "x.beton", ConvertOptions(encoding="jpeg", quality=40, levels=(32,)))
    small = open_dataset(tmp_path / "x.beton").at(32)
    file = io.BytesIO()
    resized = Image.fromarray(folder.read(0)).resize((32, 48), Image.Resampling.BICUBIC)
    resized.save(file, "JPEG", quality=40)
    assert small.encoded(0) == file.getvalue()
