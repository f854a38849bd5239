"""The card of an FFCV file, beside it and within it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from beton_files import CARD

from pipeline.errors import DataError
from pipeline.formats import card_path, open_dataset
from pipeline.formats.card import Card, HeldOut


def test_a_card_goes_through_json_unchanged(tmp_path: Path) -> None:
    card = replace(
        CARD,
        classes=("naïve", "a, b"),
        height=3,
        max_resolution=12,
        held_out=HeldOut("validation", 0.1, 7),
        mean=(0.1, 1 / 3, 0.3),
    )
    assert Card.from_json(card.to_json(), tmp_path) == card


def test_without_the_card_beside_it_a_file_speaks_for_itself(raw: Path) -> None:
    card = open_dataset(raw).card
    card_path(raw).unlink()
    assert open_dataset(raw).card == replace(card, digest=None, created_by="")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: "{", "must be JSON"),
        (lambda entries: "[]", "must be a card of schema 3 or older; got list"),
        (lambda entries: json.dumps(entries | {"schema": 9}), "must be a card of schema 3 or older; got 9"),
        (
            lambda entries: json.dumps({"schema": 1}),
            "a card; it lacks name, split, .*, source: delete the card",
        ),
        (lambda entries: json.dumps(entries | {"classes": 3}), "its classes must be a list of texts; got 3"),
        (
            lambda entries: json.dumps(entries | {"held_out": {"part": "x"}}),
            "its held_out must be null, or part, fraction and seed of a validation split; got {'part': 'x'}",
        ),
        (
            lambda entries: json.dumps(entries | {"class_counts": [10]}),
            r"class_counts has 1 counts \(10 in all\)",
        ),
        (
            lambda entries: json.dumps(entries | {"mean": [0.5]}),
            "must have a mean and a deviation for each of the 3 channels of mode RGB; it has 1 and 3",
        ),
        (
            lambda entries: json.dumps(entries | {"samples": 4, "class_counts": [2, 2]}),
            "which hold another samples",
        ),
    ],
)
def test_a_card_that_is_none_is_refused(
    raw: Path, change: Callable[[dict[str, object]], str], message: str
) -> None:
    beside = card_path(raw)
    beside.write_text(change(json.loads(beside.read_text())))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(raw)
    assert "\n" not in str(caught.value)
    assert "delete the card" in str(caught.value)


def test_a_card_that_is_no_text_is_refused(raw: Path) -> None:
    card_path(raw).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        DataError, match=r"raw\.card\.json must be UTF-8 text; got .*: delete the card to have"
    ):
        open_dataset(raw)
    card_path(raw).unlink()
    card_path(raw).mkdir()
    with pytest.raises(
        DataError, match=r"raw\.card\.json must be .* it can't be \(Is a directory\): delete the"
    ):
        open_dataset(raw)
