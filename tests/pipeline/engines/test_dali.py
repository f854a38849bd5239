"""The dali engine beyond what every engine keeps to: crops, odd JPEGs, GPUs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from photographs_on_disk import CPU, MOST_OFF, as_pillow, assert_close, draw_crop, jpeg, photo, write
from PIL import Image

from pipeline.engines.dali import DaliEngine, DaliReader
from pipeline.engines.dali_pipeline import library
from pipeline.errors import DataError, MissingExtraError
from pipeline.formats.beton import Beton


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (160, 200), (12, 9)])
def test_windows_are_resized_as_by_pillow(photos: Beton, reader: DaliReader, size: tuple[int, int]) -> None:
    ids = np.random.default_rng(1).integers(0, len(photos), 40)
    crop = draw_crop(photos, ids, *size)
    assert_close(reader.read(ids, crop), as_pillow(photos, ids, crop), MOST_OFF)
    reader.close()


def test_raw_images_and_jpegs_share_a_batch(tmp_path: Path) -> None:
    images = [photo(i, 40, 50) for i in range(9)]
    data = write(tmp_path / "mixed.beton", [jpeg(one) if i % 3 else one for i, one in enumerate(images)])
    reader = DaliEngine(threads=1).open(data, CPU)
    ids = np.array([0, 1, 2, 3, 3, 8, 6, 7])
    assert_close(reader.read(ids), as_pillow(data, ids, None), 0)
    crop = draw_crop(data, ids, 20, 30)
    assert_close(reader.read(ids, crop), as_pillow(data, ids, crop), MOST_OFF)
    raw = np.array([0, 6, 3])
    assert_close(reader.read(raw), as_pillow(data, raw, None), 0)
    crop = draw_crop(data, raw, 20, 30)
    assert_close(reader.read(raw, crop), as_pillow(data, raw, crop), 1)
    reader.close()


def test_asks_for_crops_on_the_cpu(photos: Beton, tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.beton", [photo(i, 8, 8) for i in range(3)])
    shapes = write(tmp_path / "shapes.beton", [photo(i, 8, 8 + i) for i in range(3)])
    for data, crops, shape in ((photos, True, None), (raw, True, 8), (shapes, True, None)):
        reader = DaliEngine().open(data, CPU)
        assert (reader.crops, reader.height) == (crops, shape)
        reader.close()


def test_images_of_several_shapes_can_not_be_read_whole(reader: DaliReader) -> None:
    with pytest.raises(DataError, match="must share one shape to be read whole, or be cropped"):
        reader.read(np.arange(3))
    reader.close()


@pytest.mark.parametrize("kind", ["cmyk", "rgb", "exif", "restarts", "optimized", "bytes behind the end"])
def test_odd_jpegs_are_decoded_as_by_pillow(kind: str, tmp_path: Path) -> None:
    picture = Image.fromarray(photo(0, 60, 80))
    exif = Image.Exif()
    exif[0x112] = 6
    content = {
        "cmyk": lambda: jpeg(picture.convert("CMYK")),
        "rgb": lambda: jpeg(picture, keep_rgb=True),
        "exif": lambda: jpeg(picture, exif=exif),
        "restarts": lambda: jpeg(picture, restart_marker_blocks=3),
        "optimized": lambda: jpeg(picture, optimize=True),
        "bytes behind the end": lambda: jpeg(picture) + b"abc",
    }[kind]()
    data = write(tmp_path / "odd.beton", [content, jpeg(picture)])
    reader = DaliEngine(threads=1).open(data, CPU)
    ids = np.array([1, 0, 0])
    assert_close(reader.read(ids), as_pillow(data, ids, None), 0)
    crop = draw_crop(data, ids, 33, 21)
    assert_close(reader.read(ids, crop), as_pillow(data, ids, crop), MOST_OFF)
    reader.close()


def refused_by_dali(content: bytes) -> bytes:
    """Put two bytes that belong nowhere before the frame header: Pillow skips them, DALI doesn't."""
    return content.replace(b"\xff\xc0", b"\x12\x34\xff\xc0", 1)


@pytest.mark.parametrize("cropped", [False, True])
def test_what_dali_would_refuse_and_pillow_reads_is_read_by_pillow(
    cropped: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = [jpeg(photo(i, 48, 64)) for i in range(8)]
    contents[5] = refused_by_dali(contents[5])
    data = write(tmp_path / "odd.beton", contents)
    reader = DaliEngine(threads=1).open(data, CPU)
    ids = np.array([1, 5, 2, 5])
    crop = draw_crop(data, ids, 20, 20) if cropped else None
    following = np.array([3, 4])
    ahead = [reader.begin(ids, crop), reader.begin(following)]
    assert_close(ahead[0](), as_pillow(data, ids, crop), MOST_OFF if cropped else 0)
    assert_close(ahead[1](), as_pillow(data, following, None), 0)
    assert_close(reader.read(ids, crop), as_pillow(data, ids, crop), MOST_OFF if cropped else 0)
    # DALI was never asked.
    assert capfd.readouterr().err == ""
    reader.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, and the next test uses it")
def test_for_a_gpu_a_pipeline_is_defined_as_far_as_dali_asks_for_the_device(square: Beton) -> None:
    reader = DaliEngine(threads=1).open(square, torch.device("cuda", 0))
    ids = np.arange(4)
    for crop in (None, draw_crop(square, ids, 8, 8)):
        with pytest.raises(RuntimeError, match="CUDA is not available"):
            reader.begin(ids, crop)
    reader.close()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_images_are_nearly_pillows(square: Beton, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    device = torch.device("cuda", 0)
    images = [square.encoded(i) if i % 4 else photo(i, 48, 64) for i in range(16)]
    for data in (square, write(tmp_path / "mixed.beton", images)):
        reader = DaliEngine(threads=1).open(data, device)
        ids = np.random.default_rng(3).integers(0, 16, 40)
        crop = draw_crop(data, ids, 20, 30)
        for asked in (None, crop, None):
            read = reader.read(ids, asked)
            assert read.device == device
            off = np.abs(read.permute(0, 2, 3, 1).cpu().numpy().astype(int) - as_pillow(data, ids, asked))
            assert off.mean() < 1
        reader.close()


def test_dali_that_is_not_installed_is_named_with_the_command(
    square: Beton, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.cache_clear()
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'budgetrain\[dali\]'"):
        DaliEngine().open(square, CPU)
