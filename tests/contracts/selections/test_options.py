"""Options of every selection: frozen, described, refused where they can't work."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest
from selection_steps import BATCH, CPU, SAMPLES, go, make, setting, variants

from trainer.errors import RunError
from trainer.selection import SELECTIONS, SelectionConfig, Setting


class Watched(Setting):
    """A setting that knows what of it was read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        type(self).read.add(name)
        return super().__getattribute__(name)


def test_is_a_frozen_dataclass_with_a_description(part: SelectionConfig) -> None:
    assert dataclasses.is_dataclass(part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.start = 0.5
    summary = (type(part).__doc__ or "").splitlines()[0]
    assert summary.endswith(".")
    assert hash(part) == hash(dataclasses.replace(part))


def test_nothing_is_told_that_no_selection_asks_for(tmp_path: Path) -> None:
    told = setting()
    for name, options in variants():
        part = make(name, options, tmp_path)
        selection = part.build(
            Watched(BATCH, SAMPLES, CPU, told.world, told.model, "5e", 0.1, told.network, told.further)
        )
        go(part, selection, range(20))
        selection.load_state_dict(selection.state_dict())
    assert Watched.read >= {item.name for item in dataclasses.fields(Setting)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": -0.1}, "start and end must rise within"),
        ({"end": 1.5}, "start and end must rise within"),
        ({"start": 0.5, "end": 0.5}, "got 0.5 and 0.5"),
        ({"start": float("nan")}, "start and end must rise within"),
        ({"interrupt": 1}, "interrupt must be 0 or at least 2 pools; got 1"),
        ({"interrupt": -3}, "interrupt must be 0 or at least 2 pools; got -3"),
        ({"pixels": 0}, "pixels must be a fraction"),
        ({"pixels": -2}, "pixels must be a fraction"),
        ({"pixels": 96.5}, "whole number of pixels; got 96.5"),
        ({"pixels": float("nan")}, "pixels must be a fraction"),
        ({"pixels": float("inf")}, "pixels must be a fraction"),
        ({"ratio": 0.5}, "ratio must be at least 1"),
        ({"ratio": float("inf")}, "ratio must be at least 1 and finite"),
        ({"keep": 0.0}, "keep must be above 0 and at most 1"),
        ({"keep": 1.1}, "keep must be above 0 and at most 1"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"history": 0}, "history must be at least 1 loss"),
        ({"thresholds": (0.9, 0.8)}, "thresholds must rise"),
        ({"thresholds": (0.0,)}, "thresholds must rise"),
        ({"beta": 2.0, "ratio": 2.5}, r"ratio must be at least 1 \+ beta = 3"),
        ({"score": "entropy"}, "score must be one of loss, (gradient_norm|cosine)"),
        ({"forgetting": -1.0}, "forgetting must be at least 0"),
        ({"pace": 0.0}, "pace must be above 0"),
        ({"inputs": "text"}, "inputs must be one of pixels, penultimate"),
        ({"grid": 0}, "grid must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1"),
        ({"threshold": -1.0}, "threshold must be at least 0"),
        ({"check_every": 0}, "check_every must be at least 1 step"),
        ({"holdout_samples": -1}, "holdout_samples must be at least 0"),
        ({"every": 0}, "every must be at least 1 pool; got 0"),
        ({"width": 1.0}, "width must be above 0 and below 1, a fraction of the network's; got 1"),
        ({"model": "resnet9"}, "model must be one of resnet8, .*; got 'resnet9'"),
        ({"model": "resnet8:widht=3"}, "model: an option of resnet8 must be one of width=; got 'widht=3'"),
        ({"bank": 0}, "bank must be at least 2"),
        ({"bank": 300, "ratio": 2.0}, "ratio takes the place of selection.bank; got 2 and 300: leave one"),
        (
            {"keep": 0.5, "beta": 1.0},
            r"keep and beta are one setting, .*; got 0\.5 and 1: leave one of them out",
        ),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    takers = [cls for cls in SELECTIONS.values() if options.keys() <= _option_names(cls)]
    assert takers
    for cls in takers:
        with pytest.raises(RunError, match=message) as error:
            cls(**options)
        assert "\n" not in str(error.value)


def _option_names(cls: type[Any]) -> set[str]:
    return {item.name for item in dataclasses.fields(cls)}
