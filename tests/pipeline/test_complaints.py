"""Complaints of decoders: one line in the end, and nothing on the terminal."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from forked import run_command
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import CorruptSampleError
from pipeline.sources import ImageFolder


def noisy_folder(root: Path) -> Path:
    """Lay out images that libtiff and Pillow complain of, and decode."""
    for number, name in enumerate("ab"):
        (root / name).mkdir(parents=True)
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8))
        image.convert("1").save(root / name / "0.tif", compression="group4")
        image.save(root / name / "1.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
        image.save(root / name / "2.png")
        content = bytearray((root / name / "0.tif").read_bytes())
        content[len(content) // 2] ^= 255
        (root / name / "0.tif").write_bytes(content)
    return root


def test_a_conversion_counts_complaints_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = noisy_folder(tmp_path / "noisy")
    notes: list[str] = []
    card = convert(ImageFolder(root), tmp_path / "x.beton", ConvertOptions(workers=2), note=notes.append)
    assert card.samples == 6
    (line,) = notes
    assert line.startswith("4 images are kept although their decoders complain of them (a/0.tif: libtiff: ")
    assert line.endswith("; and 1 more)")
    assert "a/1.jpg: " in line
    assert capfd.readouterr() == ("", "")


def test_what_pillow_logs_stays_off_the_terminal(tmp_path: Path) -> None:
    root = noisy_folder(tmp_path / "noisy")
    Image.new("RGB", (8, 8)).save(root / "a" / "9.tif")
    content = (root / "a" / "9.tif").read_bytes()
    samples = (277).to_bytes(2, "little") + b"\x03\0\x01\0\0\0"
    assert content.count(samples) == 1
    (root / "a" / "9.tif").write_bytes(content.replace(samples + b"\x03\0", samples + b"\0\x08"))
    done = run_command(["convert", str(root), str(tmp_path / "x.beton"), "--skip-corrupt"])
    assert done.returncode == 0
    assert "corrupt images left out: 1" in done.stdout
    assert done.stderr == ""


def test_the_terminal_has_the_line_and_no_other(tmp_path: Path) -> None:
    root = noisy_folder(tmp_path / "noisy")
    done = run_command(["convert", str(root), str(tmp_path / "x.beton")])
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.startswith("note: 4 images are kept") for line in lines].count(True) == 1
    assert len(lines) == 4
    assert done.stderr == ""


def test_complaints_of_an_image_are_kept_when_a_conversion_goes_on(tmp_path: Path) -> None:
    root = noisy_folder(tmp_path / "noisy")
    sound = (root / "b" / "2.png").read_bytes()
    (root / "b" / "2.png").write_bytes(sound[:-40])
    notes: list[str] = []
    for number in range(40):
        (root / "a" / f"3-{number}.png").write_bytes(sound)
    with pytest.raises(CorruptSampleError):
        convert(ImageFolder(root), tmp_path / "x.beton", ConvertOptions(workers=1))
    convert(
        ImageFolder(root),
        tmp_path / "x.beton",
        ConvertOptions(workers=1, skip_corrupt=True),
        note=notes.append,
    )
    assert notes[0].startswith("4 images are kept")


def test_other_warnings_are_nobodys_complaint(tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        warnings.warn("of another kind", UserWarning, stacklevel=1)

    root = noisy_folder(tmp_path / "noisy")
    with pytest.raises(UserWarning, match="of another kind"):
        convert(ImageFolder(root), tmp_path / "x.beton", ConvertOptions(), progress)
