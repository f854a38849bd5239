from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipeline import open_dataset
from pipeline.augment import AUGMENTS
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError
from pipeline.formats import Beton
from pipeline.sources import open_source
from tools.arguments import UsageError, parse
from tools.gallery import Gallery, choose, paint, square


@pytest.fixture
def data(fashion: Path) -> Beton:
    return open_dataset(fashion / "fashion_mnist" / "train.beton")  # type: ignore[return-value]


def drawn(data: Beton, tmp_path: Path, *words: str) -> tuple[str, np.ndarray]:
    said, out = io.StringIO(), tmp_path / "gallery.png"
    line = [str(data.path), "--out", str(out), *words]
    assert parse(Gallery, line, "trainer augment-gallery").execute(Console(file=said, width=20)) == 0
    return said.getvalue(), np.asarray(Image.open(out))


def places(page: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Where an image stands on the page, enlarged three times."""
    wanted = image.repeat(3, axis=0).repeat(3, axis=1)
    height, width = wanted.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(page, (1, width, 3))[:, :, 0, 0]
    found = np.argwhere((windows == wanted[height // 2]).all(axis=(2, 3)))
    corners = {(int(y), int(x)) for y, x in found}
    return sorted(
        (y - height // 2, x)
        for y, x in corners
        if (page[y - height // 2 : y - height // 2 + height, x : x + width] == wanted).all()
    )


def test_originals_and_every_draw_of_every_column_are_on_the_page(data: Beton, tmp_path: Path) -> None:
    said, page = drawn(data, tmp_path, "--augment", "none", "grayscale", "--images", "2", "--draws", "4")
    assert said == f"gallery: {tmp_path / 'gallery.png'}\n"
    for index in choose(data, 2):
        # Gray images stay as they are in both columns: the original, and two columns of four draws.
        spots = places(page, data.image(int(index)))
        assert len({y // 84 for y, _ in spots}) == 4
        assert len({x for _, x in spots}) == 3
        assert len({(y // 84, x) for y, x in spots}) == 9


def test_draws_differ_and_a_seed_repeats_them(data: Beton, tmp_path: Path) -> None:
    words = ("--augment", "standard+ricap", "--images", "3")
    first = drawn(data, tmp_path, *words)[1]
    assert (first == drawn(data, tmp_path, *words)[1]).all()
    assert (first != drawn(data, tmp_path, *words, "--seed", "1")[1]).any()
    assert len(places(first, data.image(int(choose(data, 3)[0])))) <= 2


def test_all_augmentations_are_shown_by_default(data: Beton, tmp_path: Path) -> None:
    names = [name for name in AUGMENTS if name != "none"]
    every = drawn(data, tmp_path, "--images", "2", "--draws", "1")[1]
    assert (every == drawn(data, tmp_path, "--images", "2", "--draws", "1", "--augment", *names)[1]).all()
    assert every.shape[1] > 100 * len(names)


def test_stands_beside_the_data_by_default(data: Beton, tmp_path: Path) -> None:
    copy = tmp_path / "train.beton"
    copy.write_bytes(data.path.read_bytes())
    copy.with_suffix(".card.json").write_bytes(data.path.with_suffix(".card.json").read_bytes())
    assert Gallery(copy, augment=("standard",), images=1, draws=1).execute(Console(file=io.StringIO())) == 0
    assert (tmp_path / "train.gallery.png").is_file()


def test_images_are_of_different_classes(data: Beton) -> None:
    assert sorted(data.labels[choose(data, 10)]) == list(range(10))
    assert len(set(choose(data, 40))) == 40
    assert len(choose(data, 10_000)) == len(data)


def test_images_of_different_sizes_are_cut_to_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("a/1.png", (40, 60)), ("a/2.png", (300, 500)), ("b/1.png", (90, 90))):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / "folder" / name)
    convert(open_source(str(tmp_path / "folder")), tmp_path / "train.beton", ConvertOptions())
    data = open_dataset(tmp_path / "train.beton")
    pixels = square(data, choose(data, 3))
    assert pixels.shape == (3, 224, 224, 3)
    page = paint("title", ["a", "a", "b"], pixels, {"x": np.stack([pixels] * 2)})
    assert page.height > 3 * 2 * 144
    assert drawn(data, tmp_path, "--augment", "random_resized_crop")[1].shape[1] >= 560  # type: ignore[arg-type]


def test_only_a_png_is_drawn_to(data: Beton, tmp_path: Path) -> None:
    copy = tmp_path / "train.beton"
    copy.write_bytes(data.path.read_bytes())
    with pytest.raises(UsageError, match=r"--out must end in .png; got .*: name one such as gallery.png"):
        drawn(data, tmp_path, "--out", str(copy))
    assert copy.read_bytes() == data.path.read_bytes()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--images", "0"), "images must be at least 1; got 0"),
        (("--draws", "0"), "draws must be at least 1; got 0"),
        (("--draws", "1000000"), "images times draws must be at most 500 rows; got 5 times 1,000,000: show"),
        (("--augment", "standrad"), "an augmentation must be one of none, standard"),
        (("--augment", "ricap+standard"), "put standard before ricap"),
    ],
)
def test_mistakes_are_told(data: Beton, tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    with pytest.raises(DataError, match=line):
        drawn(data, tmp_path, *words)
    assert not (tmp_path / "gallery.png").exists()
