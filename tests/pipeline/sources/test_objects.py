"""Python objects as sources: any data set that has items."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import noise
from PIL import Image
from torchvision import datasets

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import open_dataset
from pipeline.sources.python_object import ObjectSource


class Pairs:
    """Items of all kinds, without an attribute for their labels."""

    def __init__(self, items: list[Any] | None = None) -> None:
        pixels = noise(0, 6, 8, 3)
        self.items = items or [
            (Image.fromarray(pixels), 0),
            (Image.fromarray(pixels[..., 0]), np.int64(1)),
            (pixels, torch.tensor(2)),
            (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, np.array(1)),
            [pixels, 0, "more"],
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_objects_give_pictures_arrays_and_tensors() -> None:
    source = ObjectSource(Pairs(), "here:Pairs", "train")
    assert source.labels.tolist() == [0, 1, 2, 1, 0]
    assert source.notes[0].startswith("here:Pairs has no attribute targets or labels")
    pixels = noise(0, 6, 8, 3)
    for index in (0, 2, 3, 4):
        np.testing.assert_array_equal(source.read(index), pixels)
    np.testing.assert_array_equal(source.read(1), np.stack([pixels[..., 0]] * 3, 2))
    assert source.sample_name(3) == "here:Pairs[3]"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([noise(0, 2, 2)], r"items of x must be \(image, label\); x\[0\] is a ndarray"),
        ([(noise(0, 2, 2), 0.5)], r"must be whole numbers or texts; x\[0\] has 0\.5"),
    ],
)
def test_objects_whose_items_are_no_pairs_are_refused(items: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ObjectSource(Pairs(items), "x", "train")


def test_an_item_that_fails_is_named() -> None:
    class Fails(Pairs):
        targets = (0, 1, 2, 3, 4)

        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise OSError("no such file,\nor so")
            return ("text", 0) if index == 4 else super().__getitem__(index)

    source = ObjectSource(Fails(), "x", "train")
    with pytest.raises(
        CorruptSampleError, match=r"x\[3\] must be an image; reading it gave: no such file, or so"
    ):
        source.read(3)
    with pytest.raises(
        CorruptSampleError, match=r"x\[4\] must be an image.* it is a str, and no Pillow image"
    ):
        source.read(4)
    Fails.targets = (0, 1)  # type: ignore[assignment]
    with pytest.raises(DataError, match="one label per item; it has 2 labels and 5 items"):
        ObjectSource(Fails(), "x", "train")


def test_torchvisions_own_data_sets_convert(tmp_path: Path) -> None:
    source = ObjectSource(datasets.FakeData(12, (3, 20, 24), 5), "torchvision.datasets:FakeData", "train")
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding="raw"))
    theirs, data = datasets.FakeData(12, (3, 20, 24), 5), open_dataset(tmp_path / "x.beton")
    for index in range(12):
        np.testing.assert_array_equal(data.image(index), np.asarray(theirs[index][0]))
        assert data.labels[index] == theirs[index][1]


def test_objects_are_found_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
import numpy as np
class Set:
    classes = ["a", ("b", "bee")]
    def __init__(self, shift=0):
        self.labels = np.arange(4) % 2
        self.shift = shift
    def __len__(self): return 4
    def __getitem__(self, i): return np.full((5, 5, 3), i + self.shift, np.uint8), self.labels[i]
here = Set()
class Space:
    inner = here
def make(split): return Set(100 if split == "test" else 50)
def broken(): raise RuntimeError("no data\\nat all")
number = 3
"""
    )
    script = """
import sys
from tools.cli import main
for number, text in enumerate(sys.argv[1:]):
    print(main(["convert", text, f"{number}.beton", "--split", "test"]))
"""
    names = ("here", "Space.inner", "Set", "make", "broken", "number", "gone")
    done = subprocess.run(
        [sys.executable, "-c", script, *(f"mine:{name}" for name in names), "nowhere:x"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=600,
    )
    statuses = [line for line in done.stdout.splitlines() if line in ("0", "1", "2")]
    assert statuses == ["0"] * 4 + ["2"] * 4, done.stderr
    for number, shift in enumerate((0, 0, 0, 100)):
        data = open_dataset(tmp_path / f"{number}.beton")
        assert [int(data.image(index)[0, 0, 0]) for index in range(4)] == list(range(shift, shift + 4))
        assert data.card.classes == ("a", "b, bee")
        assert data.card.name == f"mine:{names[number]}"
    for line, message in zip(
        done.stderr.splitlines(),
        ("gave: no data at all", "mine:number is a int", "no attribute 'gone'", "No module named 'nowhere'"),
        strict=True,
    ):
        assert message in line
