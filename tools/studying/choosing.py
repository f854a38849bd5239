"""Choices of settings on a validation set, with the same number of trials for every method."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.studying.grid import Arm, Axis, Settings
from trainer.data import VALIDATION
from trainer.errors import RunError

KEYS = ("per", "trials", "seed", "split", "settings", "own", "at")


@dataclass(frozen=True, slots=True)
class Choose:
    """``[choose]``: the best of some settings by the last round's primary metric on held-out samples.

    Attributes
    ----------
    per
        Axes whose every combination of labels gets a choice of its own.
    trials
        Runs per choice, the same for all.
    seed
        Of all trials.
    candidates
        Values by setting, for every choice; their combinations are the trials.
    own
        Candidates in place of those, by a label of one of the axes ``per``.
    at
        Labels of the other axes, at which the trials are made; each axis's first by default.
    """

    per: tuple[str, ...]
    trials: int
    seed: int
    candidates: Mapping[str, Sequence[Any]]
    own: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    at: Mapping[str, str] = field(default_factory=dict)

    def key(self, arm: Arm) -> str:
        """Return the name of the choice that an arm takes part in."""
        return "-".join(arm.labels[axis] for axis in self.per)

    def trials_of(self, arm: Arm) -> list[Settings]:
        """Return the settings of each trial for an arm's choice, in the order of the file."""
        labels = [arm.labels[axis] for axis in self.per]
        own = next((self.own[label] for label in labels if label in self.own), self.candidates)
        return [dict(zip(own, values, strict=True)) for values in itertools.product(*own.values())]

    def representatives(self, arms: Sequence[Arm]) -> list[Arm]:
        """Return the arm of each choice that its trials are made with.

        Raises
        ------
        RunError
            If exclusions leave no such arm for a choice.
        """
        found: dict[str, Arm] = {}
        for arm in arms:
            if all(arm.labels[axis] == label for axis, label in self.at.items()):
                found.setdefault(self.key(arm), arm)
        lacking = next((self.key(arm) for arm in arms if self.key(arm) not in found), None)
        if lacking is not None:
            at = ", ".join(f"{axis} {label}" for axis, label in self.at.items())
            raise RunError(f"choose: every choice must have a cell at {at}; {lacking} has none: change at")
        return list(found.values())


def read_choose(table: Any, axes: Sequence[Axis], where: str) -> Choose:
    """Read ``[choose]``.

    Raises
    ------
    RunError
        If a key is unknown or missing, choices would be made on the test set, or methods differ in their
        number of trials.
    """
    if not isinstance(table, Mapping):
        raise RunError(f"{where} must be a table; got {table!r}: write [choose]")
    for key in table:
        if key not in KEYS:
            raise RunError(f"{where}: key must be one of {', '.join(KEYS)}; got {key!r}")
    split = table.get("split", VALIDATION)
    if split != VALIDATION:
        raise RunError(
            f'{where}: choices must be made on held-out training samples, split = "{VALIDATION}"; got '
            f"{split!r}: the test set is for the chosen settings, once"
        )
    known = {axis.name: axis for axis in axes}
    per = table.get("per")
    per = [per] if isinstance(per, str) else per
    if not isinstance(per, list) or not per or any(axis not in known for axis in per):
        raise RunError(f"{where}: per must name axes of the grid, {', '.join(known)}; got {per!r}")
    trials, seed = table.get("trials"), table.get("seed", 0)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 2:
        raise RunError(f"{where}: trials must be a whole number of at least 2; got {trials!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise RunError(f"{where}: seed must be at least 0 and below 2**32; got {seed!r}")
    candidates = _candidates(table.get("settings"), trials, f"{where}: settings")
    labels = {label for axis in per for label in known[axis].values}
    own = {}
    for label, entry in table.get("own", {}).items():
        if label not in labels:
            raise RunError(
                f"{where}: own must name labels of {', '.join(per)}, {', '.join(sorted(labels))}; got "
                f"{label!r}"
            )
        own[label] = _candidates(entry, trials, f"{where}: own.{label}")
    others = {axis.name: next(iter(axis.values)) for axis in axes if axis.name not in per}
    at = {axis: str(label) for axis, label in table.get("at", {}).items()}
    for axis, label in at.items():
        if axis not in others or label not in known[axis].values:
            raise RunError(
                f"{where}: at must have labels of the other axes, "
                f"{', '.join(others) or 'of which there is none'}"
                f"; got {axis} = {label!r}"
            )
    return Choose(tuple(per), trials, seed, candidates, own, {**others, **at})


def _candidates(entry: Any, trials: int, where: str) -> Mapping[str, Sequence[Any]]:
    if not isinstance(entry, Mapping) or not entry:
        raise RunError(
            f'{where} must have a list per setting, as "optimizer.lr" = [0.05, 0.1]; got {entry!r}'
        )
    count = 1
    for key, values in entry.items():
        if not isinstance(values, list) or not values:
            raise RunError(f"{where}: {key} must be a list of values; got {values!r}")
        count *= len(values)
    if count != trials:
        raise RunError(
            f"{where} must make as many combinations as there are trials, {trials} for every method; got "
            f"{count}"
        )
    return entry
