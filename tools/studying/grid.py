"""Grids: axes of labeled values, the arms that they make, and matchers that select some of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.studying.overlay import plain
from trainer.errors import RunError

LABEL = re.compile(r"[A-Za-z0-9_.+]+")
"""Labels name folders, joined by dashes."""

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that a study varies.

    Attributes
    ----------
    name
        A setting or slot, or the study's own word for several that go together.
    values
        Settings by the label of each value, in the order of the file.
    """

    name: str
    values: Mapping[str, Settings]


@dataclass(frozen=True, slots=True)
class Arm:
    """A combination of values, one per axis, which is repeated over seeds.

    Attributes
    ----------
    labels
        The value's label by axis.
    settings
        Overrides of the recipe, in the order in which they apply.
    """

    labels: Mapping[str, str]
    settings: tuple[Settings, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The labels joined by dashes."""
        return "-".join(self.labels.values()) or "all"

    def matches(self, matcher: Matcher) -> bool:
        """Whether each of its labels is among those that the matcher names for that axis."""
        return all(self.labels[axis] in labels for axis, labels in matcher.items())


Matcher = Mapping[str, Sequence[str]]
"""Labels by axis; an axis that isn't named matches with any label."""


def read_axes(grid: Any, where: str) -> tuple[Axis, ...]:
    """Read ``[grid]``: a list of values per setting, or a table of labeled settings per axis.

    Raises
    ------
    RunError
        If an axis has no value, a value twice, or one that needs a label of its own.
    """
    if not isinstance(grid, Mapping) or not grid:
        raise RunError(f"{where}: grid must have an axis; got none: write [grid] and sampler = [...], say")
    return tuple(_axis(name, values, f"{where}: grid.{name}") for name, values in grid.items())


def _axis(name: str, values: Any, where: str) -> Axis:
    if isinstance(values, Mapping):
        labeled = {
            label: value if isinstance(value, Mapping) and "name" not in value else {name: value}
            for label, value in values.items()
        }
    elif isinstance(values, list):
        labeled = {}
        for value in values:
            label = plain(value)
            if not LABEL.fullmatch(label):
                raise RunError(
                    f"{where}: a value with options must have a label; got {label}: write the axis as a "
                    f"table, [grid.{name}] and LABEL = ..."
                )
            if label in labeled:
                raise RunError(f"{where} must hold each value once; got {label} twice: leave one out")
            labeled[label] = {name: value}
    else:
        raise RunError(f"{where} must be a list of values or a table of labeled settings; got {values!r}")
    if not labeled:
        raise RunError(f"{where} must hold a value; got none: add one, or leave the axis out")
    odd = next((label for label in labeled if not LABEL.fullmatch(label)), None)
    if odd is not None:
        raise RunError(
            f"{where}: a label must be of letters, digits, dots, plus signs and underscores; got {odd!r}"
        )
    return Axis(name, labeled)


def read_matcher(table: Any, axes: Sequence[Axis], where: str) -> Matcher:
    """Read a table of labels by axis, each a label or a list of labels.

    Raises
    ------
    RunError
        If it names an axis or a label that the grid doesn't have.
    """
    known = {axis.name: axis for axis in axes}
    if not isinstance(table, Mapping) or not table:
        raise RunError(f"{where} must name axes and labels, as {{ {axes[0].name} = ... }}; got {table!r}")
    found: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        if name not in known:
            raise RunError(f"{where} must name axes of the grid, {', '.join(known)}; got {name!r}")
        labels = tuple(map(plain, value)) if isinstance(value, list) else (plain(value),)
        for label in labels:
            if label not in known[name].values:
                raise RunError(
                    f"{where}: {name} must be one of {', '.join(known[name].values)}; got {label!r}"
                )
        found[name] = labels
    return found


def read_matchers(tables: Any, axes: Sequence[Axis], where: str) -> tuple[Matcher, ...]:
    """Read one table of labels, or a list of them; none for None."""
    listed = [] if tables is None else tables if isinstance(tables, list) else [tables]
    return tuple(read_matcher(table, axes, where) for table in listed)


def arms(
    axes: Sequence[Axis],
    excluded: Sequence[Matcher],
    overridden: Sequence[tuple[Matcher, Settings]],
    first: Sequence[Matcher],
    where: str,
) -> tuple[Arm, ...]:
    """Return the arms of a grid: all combinations but those excluded, the ``first`` ones first.

    Parameters
    ----------
    overridden
        Further settings of the arms that a matcher matches.

    Raises
    ------
    RunError
        If nothing is left, or a matcher matches no arm.
    """
    made = list(_combinations(axes))
    for matcher in excluded:
        _check_matches(matcher, made, f"{where}: exclude")
    made = [arm for arm in made if not any(arm.matches(matcher) for matcher in excluded)]
    if not made:
        raise RunError(f"{where}: a grid must have a cell; exclude leaves none: exclude less")
    for matcher, _ in overridden:
        _check_matches(matcher, made, f"{where}: override")
    for matcher in first:
        _check_matches(matcher, made, f"{where}: first")
    made = [
        Arm(arm.labels, (*arm.settings, *(more for matcher, more in overridden if arm.matches(matcher))))
        for arm in made
    ]
    return tuple(sorted(made, key=lambda arm: rank(arm, first)))


def rank(arm: Arm, first: Sequence[Matcher]) -> int:
    """Return the index of the first matcher that matches an arm; the number of matchers if none does."""
    return next((index for index, matcher in enumerate(first) if arm.matches(matcher)), len(first))


def _combinations(axes: Sequence[Axis]) -> Iterator[Arm]:
    for chosen in itertools.product(*(axis.values.items() for axis in axes)):
        labels = {axis.name: label for axis, (label, _) in zip(axes, chosen, strict=True)}
        yield Arm(labels, tuple(settings for _, settings in chosen))


def _check_matches(matcher: Matcher, made: Sequence[Arm], where: str) -> None:
    if not any(arm.matches(matcher) for arm in made):
        named = ", ".join(f"{axis} {' or '.join(labels)}" for axis, labels in matcher.items())
        raise RunError(f"{where} must match a cell; none has {named}: leave it out, or mend it")
