"""Contact sheets of a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beton_files import CARD, write
from drawn_sets import noise
from PIL import Image

from pipeline.formats import Sample, StoredImage, open_dataset
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.sheet import contact_sheet


@pytest.mark.parametrize("classes", [1, 10, 60, 300])
def test_a_contact_sheet_shows_every_class_or_an_even_choice(tmp_path: Path, classes: int) -> None:
    path = tmp_path / "x.beton"
    colors = np.random.default_rng(0).integers(0, 256, (classes, 3), dtype=np.uint8)
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
        for label, color in enumerate(colors):
            content = np.full((8, 8, 3), color).tobytes()
            full = StoredImage.of(content, 8, 8)
            writer.append(Sample([full], False, label, "x"))
        writer.publish(writer.finish(card))
    contact_sheet(open_dataset(path), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as sheet:
        codes = np.array(sheet).reshape(-1, 3).astype(int) @ [65536, 256, 1]
    shown = {
        int(code) for code, count in zip(*np.unique(codes, return_counts=True), strict=True) if count >= 4096
    }
    wanted = {int(code) for code in colors.astype(int) @ [65536, 256, 1]}
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
