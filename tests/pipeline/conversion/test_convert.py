"""Conversions: what they write, that it is the same every time, and that nothing half-made is left."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import card_path, open_dataset
from pipeline.formats.card import HeldOut
from pipeline.formats.whole import partial_path
from pipeline.pillow import pixel_limit
from pipeline.sources import ArraySource, ImageFolder, open_source
from pipeline.sources.store import fit

FOLDER = [(30, 40), (50, 20), (64, 64), (1, 1), (7, 64)]


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def arrays(samples: int = 100, classes: int = 4, side: int = 6) -> ArraySource:
    labels = np.random.default_rng(1).integers(0, classes, samples)
    names = tuple(f"c{label}" for label in range(classes))
    return ArraySource("noise", "train", "noise of the test", names, labels, noise(0, samples, side, side, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of five sizes, in turn PNG and JPEG, in three classes."""
    for index in range(40):
        path = tmp_path / "set" / "abc"[index % 3] / f"{index:02}.{('png', 'jpg')[index % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(index, *FOLDER[index % 5], 3)).save(path)
    return tmp_path / "set"


@pytest.fixture(scope="module")
def clothes(drawn: Path) -> ArraySource:
    """2,000 images in the files of Fashion-MNIST's test split."""
    source = open_source("fashion_mnist", split="test", data_dir=drawn)
    images = np.stack([source.read(index) for index in range(2000)])
    return ArraySource("fashion_mnist", "test", source.origin, source.classes, source.labels, images)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


# ---------------------------------------------------------------------------------------- what is written


def test_images_come_through_with_their_card(clothes: ArraySource, tmp_path: Path) -> None:
    out = tmp_path / "f.beton"
    card = convert(clothes, out, ConvertOptions())
    data = open_dataset(out)
    assert data.card == card
    for index in range(0, 2000, 7):
        np.testing.assert_array_equal(data.image(index), clothes.images[index])
    assert data.labels.tolist() == clothes.labels.tolist()
    assert card.classes == clothes.classes
    assert card.class_counts == tuple(np.bincount(clothes.labels, minlength=10))
    assert (card.name, card.split, card.samples) == ("fashion_mnist", "test", 2000)
    assert (card.height, card.width, card.encoding, card.quality) == (28, 28, "raw", None)
    pixels = clothes.images / 255
    np.testing.assert_allclose(card.mean, pixels.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(card.std, pixels.std((0, 1, 2)), rtol=1e-9)
    assert card.digest == hashlib.sha256(out.read_bytes()).hexdigest()
    assert card.created_by.startswith("budgetrain")
    assert card.held_out is None


def test_a_folder_of_many_sizes_keeps_them(folder: Path, tmp_path: Path) -> None:
    card = convert(ImageFolder(folder), tmp_path / "x.beton", ConvertOptions(encoding="raw"))
    source, data = ImageFolder(folder), open_dataset(tmp_path / "x.beton")
    for index in range(40):
        np.testing.assert_array_equal(data.image(index), source.read(index))
        assert data.name(index) == source.sample_name(index)
    assert (card.height, card.width) == (None, None)
    assert (card.min_height, card.max_height, card.min_width, card.max_width) == (1, 64, 1, 64)
    pixels = np.concatenate([source.read(index).reshape(-1, 3) for index in range(40)]) / 255
    np.testing.assert_allclose(card.mean, pixels.mean(0), rtol=1e-9)
    np.testing.assert_allclose(card.std, pixels.std(0), rtol=1e-9)


def test_jpegs_are_taken_over_and_the_rest_is_encoded(folder: Path, tmp_path: Path) -> None:
    source = ImageFolder(folder)
    card = convert(source, tmp_path / "x.beton", ConvertOptions(encoding="jpeg", quality=35))
    data = open_dataset(tmp_path / "x.beton")
    assert (card.encoding, card.quality) == ("jpeg", 35)
    for index in range(40):
        stored = data.encoded(index)
        taken = source.encoded(index)
        if taken is not None:
            assert stored == taken
        else:
            file = io.BytesIO()
            Image.fromarray(source.read(index)).save(file, "JPEG", quality=35)
            assert stored == file.getvalue()
    again = convert(source, tmp_path / "y.beton", ConvertOptions(encoding="jpeg", quality=35, reencode=True))
    assert again.digest != card.digest
    jpegs = [index for index in range(40) if source.sample_name(index).endswith("jpg")]
    large = [index for index in jpegs if data.sizes[index] > 1000]
    assert len(large) >= 8
    assert (open_dataset(tmp_path / "y.beton").sizes[large] < data.sizes[large]).all()


def test_a_set_of_jpegs_alone_states_no_quality(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.png"):
        path.unlink()
    assert convert(ImageFolder(folder), tmp_path / "x.beton", ConvertOptions(encoding="jpeg")).quality is None


@pytest.mark.parametrize(
    ("side", "options", "encoding"),
    [
        (64, ConvertOptions(), "raw"),
        (65, ConvertOptions(), "jpeg"),
        (65, ConvertOptions(encoding="raw"), "raw"),
        (64, ConvertOptions(encoding="jpeg"), "jpeg"),
        (65, ConvertOptions(max_resolution=64), "raw"),
        (64, ConvertOptions(square=65), "jpeg"),
    ],
)
def test_small_images_are_stored_raw(
    side: int, options: ConvertOptions, encoding: str, tmp_path: Path
) -> None:
    assert convert(arrays(8, side=side), tmp_path / "x.beton", options).encoding == encoding


def test_sizes_are_capped_or_squared(folder: Path, tmp_path: Path) -> None:
    source = ImageFolder(folder)
    card = convert(source, tmp_path / "cap.beton", ConvertOptions(max_resolution=32))
    data = open_dataset(tmp_path / "cap.beton")
    assert card.max_resolution == 32
    for index in range(40):
        height, width = source.read(index).shape[:2]
        scale = min(1, 32 / max(height, width))
        wanted = max(1, round(height * scale)), max(1, round(width * scale))
        assert (data.heights[index], data.widths[index]) == wanted
    card = convert(source, tmp_path / "square.beton", ConvertOptions(square=24))
    assert (card.height, card.width, card.square) == (24, 24, 24)


# ----------------------------------------------------------------------------------------------- resizing


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), cap=st.integers(1, 300))
def test_fitting_gives_the_size_asked_for(height: int, width: int, cap: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    capped = fit(image, cap, None)
    assert max(capped.shape[:2]) == min(max(height, width), cap)
    assert min(capped.shape[:2]) >= 1
    assert (capped is image) == (max(height, width) <= cap)
    assert fit(image, None, cap).shape == (cap, cap, 3)
    assert fit(image, None, None) is image


def test_scaling_down_averages_instead_of_skipping() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(fit(stripes, 8, None)[:, 1:-1], 127.5, atol=8)


def test_squares_are_cut_from_the_centre() -> None:
    image = noise(0, 10, 31, 3)
    np.testing.assert_array_equal(fit(image, None, 10), image[:, 10:20])
    tall = noise(0, 30, 11, 3)
    np.testing.assert_array_equal(fit(tall, None, 11), tall[9:20])


def test_very_wide_images_are_squared_without_growing_first() -> None:
    assert fit(noise(0, 2, 60_000, 3), None, 224).shape == (224, 224, 3)


# ------------------------------------------------------------------------------------------- the same bytes


def test_the_bytes_do_not_depend_on_the_workers(folder: Path, tmp_path: Path) -> None:
    sources = {"arrays": arrays(200), "folder": ImageFolder(folder)}
    for name, source in sources.items():
        for options in (
            ConvertOptions(encoding="raw"),
            ConvertOptions(encoding="jpeg", max_resolution=40, validation=0.3, seed=2),
        ):
            digests = set()
            for workers in (1, 2, 5):
                out = tmp_path / f"{name}-{workers}.beton"
                convert(source, out, replace(options, workers=workers, overwrite=True))
                digests.add(
                    out.read_bytes() + (validation_path(out).read_bytes() if options.validation else b"")
                )
                if options.validation:
                    validation_path(out).unlink()
                cards = card_path(out).read_text()
                digests.add(cards.encode())
            # One set of data bytes and one of card bytes.
            assert len(digests) == 2


def test_the_same_images_elsewhere_give_the_same_digest(folder: Path, tmp_path: Path) -> None:
    one = convert(ImageFolder(folder), tmp_path / "one.beton", ConvertOptions())
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / "set")
    other = convert(
        ImageFolder(tmp_path / "elsewhere" / "set"), tmp_path / "elsewhere" / "x.beton", ConvertOptions()
    )
    assert one == other


def test_a_process_with_torch_numba_and_threads_converts(folder: Path, tmp_path: Path) -> None:
    script = f"""
import numba, torch, threading
from pathlib import Path
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ImageFolder
numba.njit(parallel=True)(lambda n: sum([i for i in numba.prange(n)]))
torch.ones(1000, 1000) @ torch.ones(1000, 1000)
lock = threading.Lock()
lock.acquire()
source, out = ImageFolder(Path({str(folder)!r})), Path({str(tmp_path / "x.beton")!r})
print(convert(source, out, ConvertOptions(workers=3)).digest)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == convert(ImageFolder(folder), tmp_path / "y.beton", ConvertOptions()).digest


def test_progress_counts_up_to_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert(
        arrays(100), tmp_path / "x.beton", ConvertOptions(), lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (100, 100)
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {100}


# --------------------------------------------------------------------------------------- validation splits


def test_a_validation_set_is_split_off_class_by_class(clothes: ArraySource, tmp_path: Path) -> None:
    out = tmp_path / "f.beton"
    card = convert(clothes, out, ConvertOptions(validation=0.1, seed=5))
    train, held = open_dataset(out), open_dataset(tmp_path / "f-validation.beton")
    assert train.card == card
    counts = np.bincount(clothes.labels, minlength=10)
    assert held.card.class_counts == tuple(int(count * 0.1 + 0.5) for count in counts)
    np.testing.assert_array_equal(np.add(train.card.class_counts, held.card.class_counts), counts)
    names = [data.name(index) for data in (train, held) for index in range(len(data))]
    assert sorted(names) == sorted(clothes.sample_name(index) for index in range(2000))
    places = {clothes.sample_name(index): index for index in range(2000)}
    for data in (train, held):
        for index in range(0, len(data), 13):
            np.testing.assert_array_equal(data.image(index), clothes.images[places[data.name(index)]])
        pixels = clothes.images[[places[data.name(index)] for index in range(len(data))]] / 255
        np.testing.assert_allclose(data.card.mean, pixels.mean((0, 1, 2)), rtol=1e-9)
    assert train.card.held_out == HeldOut("training", 0.1, 5)
    assert held.card.held_out == HeldOut("validation", 0.1, 5)
    assert (train.card.split, held.card.split) == ("test", "validation")
    assert held.card.classes == clothes.classes


def test_a_validation_set_needs_two_images_of_a_class(tmp_path: Path) -> None:
    source = ArraySource("x", "train", "x", ("a", "b"), np.array([0, 1]), noise(0, 2, 4, 4, 3))
    with pytest.raises(DataError, match="a class of at least 2 images; x has 2 images"):
        convert(source, tmp_path / "x.beton", ConvertOptions(validation=0.5))
    assert files(tmp_path) == []


def test_an_earlier_validation_set_does_not_stay_beside_a_whole_set(tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    convert(arrays(), out, ConvertOptions(validation=0.5))
    with pytest.raises(DataError, match=r"x-validation.beton must not stay beside"):
        convert(arrays(), out, ConvertOptions(overwrite=True))
    convert(arrays(), out, ConvertOptions(overwrite=True, validation=0.25))
    assert open_dataset(validation_path(out)).card.held_out == HeldOut("validation", 0.25, 0)


# ------------------------------------------------------------------------------------------------ bad input


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
        ({"validation": 1.0}, "validation must be at least 0 and below 1, a share; got 1.0"),
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
        convert(ImageFolder(folder), out, ConvertOptions(encoding=encoding, validation=0.2))
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
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert re.fullmatch(r".*x\.beton can't be written: File too large", done.stdout.strip()), done.stderr
    assert files(tmp_path) == []


# --------------------------------------------------------------------------------------------------- kills


def test_what_a_killed_conversion_left_goes_with_the_next_of_other_options(tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    for stale in (out, validation_path(out)):
        partial_path(stale).write_bytes(b"left behind")
    convert(arrays(), out, ConvertOptions())
    assert files(tmp_path) == ["x.beton", "x.card.json"]


def test_a_kill_between_file_and_card_leaves_a_file_that_opens(tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    card = convert(arrays(), out, ConvertOptions())
    card_path(out).unlink()
    assert open_dataset(out).card == replace(card, digest=None, created_by="")


def test_an_interrupt_in_the_callback_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(arrays(500), tmp_path / "x.beton", ConvertOptions(), stop)
    assert files(tmp_path) == []
