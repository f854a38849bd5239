"""Resolution over a run: the image size of each round, and the samples trained at each size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.resolution import RESOLUTIONS, Stage
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Safe, table
from tools.reporting.record import RunRecord
from tools.reporting.wording import NONE, TIMES, count, percent


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive rounds at one resolution.

    Attributes
    ----------
    first, last
        Rounds, from 1.
    pixels
        Image size.
    magnitudes
        Factors on the strength of the augmentation in the first and in the last of the rounds.
    """

    first: int
    last: int
    pixels: int
    magnitudes: tuple[float, float]


def stretches(run: RunRecord) -> list[Stretch]:
    """Return the resolution of each round, from the schedule and the progress at which each round began.

    Empty if the resolution is constant, or if a value for it isn't recorded.
    """
    full = max(run.by_pixels("trained_at"), default=None)
    options = run.recipe.get("resolution")
    if full is None or not isinstance(options, Mapping) or options.get("name") in (None, "constant"):
        return []
    begun = _begun(run)
    stages = [_stage(options, progress, full) for progress in begun.values()]
    found: list[Stretch] = []
    for number, stage in zip(begun, stages, strict=True):
        if stage is None or stage.pixels is None:
            return []
        if found and found[-1].pixels == stage.pixels and found[-1].last == number - 1:
            before = found.pop()
            found.append(
                Stretch(before.first, number, before.pixels, (before.magnitudes[0], stage.magnitude))
            )
        else:
            found.append(Stretch(number, number, stage.pixels, (stage.magnitude, stage.magnitude)))
    return found


def _begun(run: RunRecord) -> dict[int, float]:
    """Return the progress through the budget at which each round began; rounds from 1."""
    # A round's last line is written at its end, where the next one begins.
    rounds, progress = run.steps["round"], run.steps["progress"]
    known = np.isfinite(rounds) & np.isfinite(progress)
    ended = {int(number): float(at) for number, at in zip(rounds[known], progress[known], strict=True)}
    begun = {number + 2: at for number, at in ended.items() if number + 1 in ended}
    return {1: 0.0} | begun if ended else {}


def _stage(options: Mapping[str, object], progress: float, full: int) -> Stage | None:
    part = RESOLUTIONS.get(str(options["name"]))
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if name != "name"
    }
    try:
        return None if part is None else part(**given).at(progress, full)
    except (DataError, TypeError, ValueError):
        return None


def resolutions(lineup: Lineup) -> list[Safe]:
    """Return tables of the rounds of runs whose resolution changes, and of the samples at each."""
    changing = [(entry.label, entry.run) for entry in lineup if len(entry.run.by_pixels("trained_at")) > 1]
    scored = [(entry.label, entry.run) for entry in lineup if entry.run.by_pixels("scored_at")]
    tables = [
        (
            ["Run", "Rounds", "Pixels", "Strength"],
            [_rounds(label, one) for label, run in changing for one in stretches(run)],
            "Resolution by round, with the factor on the augmentation's strength",
        ),
        (
            ["Run", "Pixels", "Samples", "Fraction"],
            [row for label, run in changing for row in _passes(label, run.by_pixels("trained_at"))],
            "Trained, by resolution",
        ),
        (
            ["Run", "Pixels", "Samples", "Fraction", "Cost of one"],
            [row for label, run in scored for row in _scored(label, run)],
            "Scored, by resolution; cost in training steps",
        ),
    ]
    # In a single run's table its name is redundant.
    first = 0 if lineup.several else 1
    return [
        table(head[first:], [row[first:] for row in rows], caption) for head, rows, caption in tables if rows
    ]


def _rounds(label: str, one: Stretch) -> list[str]:
    rounds = f"{one.first}" if one.first == one.last else f"{one.first} to {one.last}"
    low, high = (f"{magnitude:.2f}{TIMES}" for magnitude in one.magnitudes)
    return [label, rounds, str(one.pixels), low if low == high else f"{low} to {high}"]


def _passes(label: str, at: Mapping[int, float]) -> list[list[str]]:
    total = sum(at.values()) or 1.0
    return [[label, str(pixels), count(n), percent(n / total)] for pixels, n in sorted(at.items())]


def _scored(label: str, run: RunRecord) -> list[list[str]]:
    at, costs = run.by_pixels("scored_at"), run.by_pixels("score_costs")
    said = [f"{costs[pixels]:.2f}" if pixels in costs else NONE for pixels in sorted(at)]
    return [[*row, cost] for row, cost in zip(_passes(label, at), said, strict=True)]
