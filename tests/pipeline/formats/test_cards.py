"""Cards that are edited, copied or damaged: one line with the card and its entry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import Beton, card_path, open_dataset
from pipeline.formats.verify import verify
from pipeline.sources import ArraySource
from tools.cli import main

ENDINGS = pytest.mark.parametrize("ending", ["beton", "wds"])


def made(path: Path, seed: int = 0) -> Path:
    images = np.random.default_rng(seed).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    convert(ArraySource("x", "train", "x", ("a", "b"), np.arange(6) % 2, images), path, ConvertOptions())
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    line = str(caught.value)
    assert line.startswith(str(card_path(path)))
    assert "\n" not in line
    assert "delete the card" in line


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("mean", "gray", "3 numbers from 0 to 1, or 1 of gray; got 'gray'"),
        ("mean", [0.5, 0.5], "3 numbers from 0 to 1"),
        ("mean", [125.3, 123.0, 113.9], "3 numbers from 0 to 1"),
        ("mean", [0.5, None, 0.5], "3 numbers from 0 to 1"),
        ("std", [0.5, True, 0.5], "3 numbers from 0 to 1"),
        ("std", [0.5, 0.5, "0.5"], "3 numbers from 0 to 1"),
        ("samples", "6", "a whole number of at least 1; got '6'"),
        ("samples", 6.0, "a whole number of at least 1; got 6.0"),
        ("classes", ["a", 1], "a list of texts"),
        ("classes", "ab", "a list of texts"),
        ("class_counts", [3, -3], "a list of whole numbers of at least 0"),
        ("height", 0, "a whole number of at least 1, or null"),
        ("min_height", None, "a whole number of at least 0"),
        ("encoding", "png", "raw, jpeg or mixed"),
        ("quality", 101, "1 to 100, or null"),
        ("channels", 2, "3, or 1 of gray; got 2"),
        ("levels", [0], "a list of whole numbers from 1"),
        ("digest", "none", "64 hexadecimal digits, or null"),
        ("held_out", [1], "null, or part, fraction and seed"),
        ("name", {"a": [1] * 100}, "a text; got "),
        ("skipped", None, "a whole number"),
        ("jpeg_share", -1, "a number from 0 to 1, or null"),
    ],
)
def test_an_entry_that_is_none_is_named(tmp_path: Path, field: str, value: Any, rule: str) -> None:
    path = made(tmp_path / "x.beton")
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps(card | {field: value}))
    refused(path, f"its {field} must be {rule}")


@ENDINGS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace('"mean": [', '"mean": [NaN, '),
            "must be JSON; got NaN is no number of JSON's",
        ),
        (lambda text: text.replace('"std": [', '"std": [-Infinity, '), "-Infinity is no number of JSON's"),
        (lambda text: text.replace('"std": [', '"std": [1e999, '), "its std must be 3 numbers"),
        (
            lambda text: text.replace('"mean":', '"std": [0, 0, 0], "mean":'),
            "must be JSON; got 'std' is there twice",
        ),
        (lambda text: "[" * 100_000 + "]" * 100_000, "must be JSON; got it is nested too deeply"),
        (lambda text: '{"schema":' + '{"a":' * 100_000, "must be JSON; got it is nested too deeply"),
        (
            lambda text: text.replace('"schema": 1', '"schema": ' + "1" * 5_000),
            "must be JSON; got Exceeds the limit",
        ),
        (lambda text: text[: len(text) // 2], "must be JSON"),
        (lambda text: "", "must be JSON"),
        (lambda text: text.encode("utf-16-le"), "must be "),
        (lambda text: text.replace('"name": "x"', '"name": "\xe9"').encode("latin-1"), "must be UTF-8 text"),
    ],
    ids=range(11),
)
def test_text_that_is_no_card_is_one_line(tmp_path: Path, ending: str, change: Any, message: str) -> None:
    path = made(tmp_path / f"x.{ending}")
    content = change(card_path(path).read_text())
    card_path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(path, message)


@ENDINGS
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_card_saved_with_a_byte_order_mark_is_read(tmp_path: Path, ending: str, encoding: str) -> None:
    path = made(tmp_path / f"x.{ending}")
    text = card_path(path).read_text().replace("\n", "\r\n")
    card_path(path).write_bytes(text.encode(encoding))
    assert open_dataset(path).card.classes == ("a", "b")


@ENDINGS
def test_the_card_of_another_data_set_is_refused(tmp_path: Path, ending: str) -> None:
    path, other = made(tmp_path / f"x.{ending}"), made(tmp_path / f"y.{ending}", seed=1)
    shutil.copy(card_path(other), card_path(path))
    refused(path, "which hold another mean")
    # A digest alone can't be known within the file: it is computed.
    open_dataset(other)
    card_path(path).write_text(
        card_path(path).read_text()
        .replace(json.dumps(open_dataset(other).card.mean), json.dumps(read_within(path, "mean")))
        .replace(json.dumps(open_dataset(other).card.std), json.dumps(read_within(path, "std")))
    )  # fmt: skip
    refused(path, "must have the digest of")
    card_path(path).unlink()
    assert len(open_dataset(path)) == 6


@pytest.mark.parametrize("ending", ["beton", "wds"])
def test_verify_finds_what_keeps_a_set_from_being_opened(tmp_path: Path, ending: str) -> None:
    path = made(tmp_path / f"x.{ending}")
    assert verify(path).refusal is None
    entries = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps(entries | {"mean": [0.1, 0.2, 0.3]}))
    verdict = verify(path)
    assert verdict.broken == {}
    assert verdict.unaltered
    assert verdict.refusal is not None
    assert "must be the card of the data beside it, which hold another mean" in verdict.refusal
    assert not verdict.sound
    assert main(["verify", str(path)]) == 1


def read_within(path: Path, field: str) -> Any:
    """Read an entry of the card that the data hold themselves."""
    aside = card_path(path).read_bytes()
    card_path(path).unlink()
    found = getattr(open_dataset(path).card, field)
    card_path(path).write_bytes(aside)
    return found


def test_a_damaged_sample_is_no_fault_of_the_card(tmp_path: Path) -> None:
    path = made(tmp_path / "x.beton")
    data = Beton(path)
    place = int(data.offsets[3])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    data = open_dataset(path)  # type: ignore[assignment]
    data.image(2)
    with pytest.raises(CorruptSampleError, match="sample 3"):
        data.image(3)
