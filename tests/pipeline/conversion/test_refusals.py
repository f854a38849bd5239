"""Options, sources, places and disks that a conversion refuses, in one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from convertible import arrays, files
from forked import run_program
from image_files import noise
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import card_path, open_dataset
from pipeline.pillow import pixel_limit
from pipeline.sources import ArraySource, ImageFolder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "png"}, "encoding must be raw, jpeg or proportion; got png"),
        ({"quality": 0}, "quality must be 1 to 100; got 0"),
        ({"quality": 101}, "quality must be 1 to 100; got 101"),
        ({"max_resolution": 0}, "max_resolution must be at least 1; got 0"),
        ({"square": -3}, "square must be at least 1; got -3"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"max_resolution": 65_536}, "max_resolution must be at most 65,535; got 65,536: take less"),
        ({"square": 1_000_000}, "square must be at most 16,384; got 1,000,000: take less"),
        ({"workers": 1_000_000}, "workers must be at most 1,024; got 1,000,000: take less"),
        ({"square": 8, "max_resolution": 9}, "must not be given together; got 8 and 9"),
        ({"validation": 1.0}, "validation must be at least 0 and below 1, a fraction; got 1.0"),
        ({"validation": -0.1}, "validation must be at least 0 and below 1"),
        ({"validation": float("nan")}, "validation must be at least 0 and below 1"),
        ({"seed": -1}, "seed must be at least 0 and below 2**32; got -1"),
    ],
)
def test_options_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        ConvertOptions(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_corrupt_image_stops_the_conversion_and_nothing_is_left(
    folder: Path, tmp_path: Path, encoding: str, ending: str
) -> None:
    broken = sorted(folder.rglob(f"*.{ending}"))[7]
    broken.write_bytes(broken.read_bytes()[:-60])
    out = tmp_path / "x.beton"
    with pytest.raises(CorruptSampleError, match=broken.name):
        convert(ImageFolder(folder), out, ConvertOptions(encoding=encoding, validation=0.2))  # type: ignore[arg-type]
    assert files(tmp_path) == []


def test_images_beyond_pillows_limit_are_converted_and_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for encoding in ("raw", "jpeg"):
        path = tmp_path / f"{encoding}.beton"
        source = ImageFolder(folder)
        convert(source, path, ConvertOptions(encoding=encoding, workers=3))
        assert Image.MAX_IMAGE_PIXELS == 10
        data = open_dataset(path)
        assert [data.fault(index) for index in range(len(source))] == [None] * len(source)
        assert Image.MAX_IMAGE_PIXELS == 10


def test_pillows_limit_is_back_when_the_last_one_leaves() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    one, other = pixel_limit(None), pixel_limit(None)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS is None
    other.__exit__(None, None, None)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_source_whose_labels_are_outside_of_its_classes_is_refused(tmp_path: Path) -> None:
    class Wrong(ArraySource):
        def __post_init__(self) -> None:
            pass

    source = Wrong("x", "train", "x", ("a", "b"), np.array([0, 1, 2]), noise(0, 3, 4, 4, 3))
    with pytest.raises(DataError, match="x must be one of its 2 classes, numbered from 0; train 2 has 2"):
        convert(source, tmp_path / "x.beton", ConvertOptions())
    empty = Wrong("x", "train", "x", ("a", "b"), np.array([], np.int64), noise(0, 0, 4, 4, 3))
    with pytest.raises(DataError, match="x must hold at least 1 image; it holds none"):
        convert(empty, tmp_path / "x.beton", ConvertOptions())


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    convert(arrays(10), out, ConvertOptions())
    before = out.read_bytes(), card_path(out).read_bytes()
    with pytest.raises(DataError, match=r"x.beton must not be there already: give --overwrite"):
        convert(arrays(20), out, ConvertOptions())
    convert(arrays(20), tmp_path / "y.beton", ConvertOptions(validation=0.5))
    held = validation_path(tmp_path / "y.beton").read_bytes()
    (tmp_path / "y.beton").unlink()
    with pytest.raises(DataError, match=r"y-validation.beton must not be there already"):
        convert(arrays(20), tmp_path / "y.beton", ConvertOptions(validation=0.5))
    with pytest.raises(DataError, match="at least 1 image"):
        convert(
            ArraySource("x", "", "x", (), np.array([], int), noise(0, 0, 1, 1)),
            out,
            ConvertOptions(overwrite=True),
        )
    assert (out.read_bytes(), card_path(out).read_bytes()) == before
    assert convert(arrays(20), out, ConvertOptions(overwrite=True)).samples == 20
    assert open_dataset(out).card.samples == 20
    assert validation_path(tmp_path / "y.beton").read_bytes() == held


@pytest.mark.parametrize("name", ["x.card.json", "x-validation.card.json"])
def test_a_card_without_its_data_set_stays(name: str, tmp_path: Path) -> None:
    out, card = tmp_path / "x.beton", tmp_path / name
    convert(arrays(20), out, ConvertOptions(validation=0.5))
    out.unlink()
    validation_path(out).unlink()
    for other in {card_path(out), card_path(validation_path(out))} - {card}:
        other.unlink()
    before = card.read_bytes()
    with pytest.raises(
        DataError, match=rf"{name} must not be there already, without its data set: give --ov"
    ):
        convert(arrays(20), out, ConvertOptions(validation=0.5))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: before}
    card.write_text("no card at all")
    with pytest.raises(DataError, match=rf"{name} must not be there already"):
        convert(arrays(20), out, ConvertOptions(validation=0.5))
    convert(arrays(20), out, ConvertOptions(validation=0.5, overwrite=True))
    assert card.read_bytes() == before


def test_a_card_that_is_not_written_over_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "x.card.json").write_text("of x.beton")
    (tmp_path / "y-validation.card.json").write_text("of y-validation.beton")
    convert(arrays(20), tmp_path / "x.wds", ConvertOptions())
    convert(arrays(20), tmp_path / "y.beton", ConvertOptions())
    assert (tmp_path / "x.card.json").read_text() == "of x.beton"
    assert (tmp_path / "y-validation.card.json").read_text() == "of y-validation.beton"
    (tmp_path / "z.wds").mkdir()
    (tmp_path / "z.wds" / "card.json").write_text("mine")
    with pytest.raises(DataError, match=r"z\.wds must not be there already: give --overwrite"):
        convert(arrays(20), tmp_path / "z.wds", ConvertOptions())
    assert (tmp_path / "z.wds" / "card.json").read_text() == "mine"


def test_places_that_can_not_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.beton").mkdir()
    for out, message in (
        (tmp_path / "file" / "x.beton", "can't be written: "),
        (tmp_path / "folder.beton", "must not be a folder"),
        (tmp_path / "x.zip", r"must end in \.beton"),
    ):
        with pytest.raises(DataError, match=message):
            convert(arrays(), out, ConvertOptions(overwrite=True))


def test_a_full_disk_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    script = f"""
import resource, signal
import numpy as np
from pathlib import Path
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError
from pipeline.sources import ArraySource
# A limit on a file's size stands in for a disk of that size: both show as OSError in a write.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000_000, 9_000_000))
images = np.zeros((2000, 32, 32, 3), np.uint8)
source = ArraySource("x", "train", "x", ("a",), np.zeros(2000, np.int64), images)
try:
    convert(source, Path({str(tmp_path / "x.beton")!r}), ConvertOptions())
except DataError as error:
    print(error)
"""
    done = run_program(script)
    assert re.fullmatch(r".*x\.beton can't be written: File too large", done.stdout.strip()), done.stderr
    assert files(tmp_path) == []
