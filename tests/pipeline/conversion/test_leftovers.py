"""Files of a stopped conversion, and their use by the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from convertible import arrays, files

from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.formats import card_path, open_dataset
from pipeline.formats.whole import partial_path


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
