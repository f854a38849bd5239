"""Output of conversions, by any number of workers."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from convertible import arrays
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.formats import card_path, open_dataset
from pipeline.sources import ArraySource, ImageFolder


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
                convert(source, out, replace(options, workers=workers, overwrite=True))  # type: ignore[arg-type]
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
