"""Pieces of a profile: a few samples as a set, and works that take turns."""

from __future__ import annotations

import torch

from tools.profiling.timing import Alone, take_turns


def test_works_take_turns_and_short_ones_are_called_often() -> None:
    made: list[str] = []
    short = Alone("short", lambda: made.append("short"), 2.0, torch.device("cpu"))

    def other() -> dict[str, float]:
        made.append("other")
        return {"x": float(made.count("other")), "y": 1.0}

    medians = take_turns([short, other], 0.0)
    turns = [name for name, before in zip(made, ["", *made], strict=False) if name != before]
    assert turns == ["short", "other"] * 6
    assert made.count("short") > 6
    assert medians["x"] == 4
    assert medians["y"] == 1
    assert 0 < medians["short"] < 0.01
