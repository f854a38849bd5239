"""trainer verify and inspect on sound and broken sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from typed_commands import type_in

from pipeline.formats import card_path, open_dataset
from tools.convert import Convert
from tools.inspect import Inspect
from tools.verify import Verify


def test_a_folder_is_converted_inspected_and_verified(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "pets.beton"
    status, said = type_in(Convert, folder, out, "--validation", "0.2", "--seed", "3")
    assert status == 0
    assert "note: 1 files that are no images" in said
    assert "30/30" in said
    assert "images/s" in said
    assert f"{out.name} (" in said.replace("\n", "")
    assert "pets-validation.beton" in said.replace("\n", "")
    assert "24 images in 2 classes, raw" in said
    assert open_dataset(out).card.class_counts == (12, 12)

    status, said = type_in(Inspect, out)
    assert status == 0
    for text in (
        "pets (train)",
        "24",
        "20 x 30 pixels, 3 channels",
        "raw",
        "image folder pets/train",
        "dog [bold]",
    ):
        assert text in said
    assert "training part; 20.0% for validation, seed 3" in said
    card = open_dataset(out).card
    assert " ".join(f"{value:.4f}" for value in card.mean) in said
    assert str(card.digest) in said.replace("\n", "").replace("│", "").replace(" ", "")
    with Image.open(tmp_path / "pets.beton.sheet.png") as sheet:
        assert sheet.size[0] >= 560

    status, said = type_in(Verify, out)
    assert status == 0
    assert "pets.beton: sound; 0 of 24 samples are broken; the file is as it was written" in said


def test_verify_names_the_broken_samples(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    type_in(Convert, folder, out)
    data = open_dataset(out)
    with out.open("r+b") as file:
        for index in (3, 17):
            file.seek(int(data.offsets[index]) + 5)
            file.write(bytes([data.data[data.offsets[index] + 5] ^ 255]))  # type: ignore[attr-defined]
    status, said = type_in(Verify, out, "--workers", "2")
    assert status == 1
    assert "sample 3 (cat/06.png) holds other bytes than were written" in said
    assert "sample 17 (dog [bold]/05.png) holds other bytes" in said
    assert "x.beton: broken; 2 of 30 samples are broken; the file was changed since it was written" in said


def test_verify_notices_a_card_of_another_file(folder: Path, tmp_path: Path) -> None:
    type_in(Convert, folder, tmp_path / "x.beton")
    type_in(Convert, folder, tmp_path / "y.beton", "--split", "test")
    card_path(tmp_path / "y.beton").replace(card_path(tmp_path / "x.beton"))
    status, said = type_in(Verify, tmp_path / "x.beton")
    assert status == 1
    assert "0 of 30 samples are broken" in said
    assert "or its card belongs to another file" in said


def test_inspect_lists_the_largest_and_smallest_of_many_classes(tmp_path: Path) -> None:
    for label in range(60):
        for number in range(1 + (label == 33)):
            path = tmp_path / "set" / f"class{label:02}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4, 3), label, np.uint8)).save(path)
    type_in(Convert, tmp_path / "set", tmp_path / "x.beton")
    said = type_in(Inspect, tmp_path / "x.beton")[1]
    assert "classes: the 20 largest and the 20 smallest" in said
    lines = [line for line in said.splitlines() if "class" in line and "━" in line]
    assert len(lines) == 40
    assert "class33" in lines[0]
