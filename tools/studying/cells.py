"""Cells: one run folder per arm and seed, made by `trainer run`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.formats import open_dataset
from pipeline.formats.whole import write_whole
from pipeline.text import parsed, read_text
from tools.studying.choosing import Choose
from tools.studying.definition import Study
from tools.studying.grid import Arm, Settings
from tools.studying.overlay import overlay
from trainer import config, recipe
from trainer.data import VALIDATION, paths
from trainer.errors import RunError
from trainer.run_folder import RunFolder
from trainer.settings import comparison, rules

RECIPES, LOGS = "cells", "logs"
"""Folders for the cells' resolved recipes and their terminal output, beside the run folders."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a study.

    Attributes
    ----------
    name
        Of its run folder.
    arm, seed
        What it is a run of.
    settings
        All overrides of the recipe, later ones over earlier ones.
    run
        The resolved run.
    """

    name: str
    arm: Arm
    seed: int
    settings: tuple[Settings, ...]
    run: config.Run

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.runs_dir / self.name

    @property
    def recipe(self) -> Path:
        """The file that its run is started from."""
        return self.run.runs_dir / RECIPES / f"{self.name}.toml"

    @property
    def log(self) -> Path:
        """The file that its run prints to."""
        return self.run.runs_dir / LOGS / f"{self.name}.log"

    @property
    def finished(self) -> bool:
        """Whether its run has come to its end."""
        return RunFolder(self.folder, self.run).finished

    def write_recipe(self) -> None:
        """Write the file that its run is started from."""
        write_whole(self.recipe, recipe.dumps(self.run).encode())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study's runs and its data are; options of the command."""

    runs_dir: Path
    data_dir: Path | None = None

    def folder(self, study: Study) -> Path:
        """Return the folder of the study's runs and results."""
        return self.runs_dir / study.name


Chosen = Mapping[str, Settings]
"""The settings that were chosen, by the name of the choice."""


def trial_cells(study: Study, place: Place) -> dict[str, list[Cell]]:
    """Return the trials of each choice, by its name; empty for a study that chooses nothing."""
    choose = study.choose
    if choose is None:
        return {}
    base = recipe.load(study.recipe)
    found = {}
    for arm in choose.representatives(study.arms):
        key = choose.key(arm)
        found[key] = [
            _cell(study, place, base, arm, choose.seed, f"choose-{key}-{number}", (trial, _HELD_OUT))
            for number, trial in enumerate(choose.trials_of(arm), 1)
        ]
    return found


_HELD_OUT = {"test_data": VALIDATION}


def final_cells(study: Study, place: Place, chosen: Chosen) -> tuple[Cell, ...]:
    """Return the cells in the order in which they are run: arms to run first before others, seed by seed.

    Parameters
    ----------
    chosen
        Empty before the choices are made.

    Raises
    ------
    RunError
        If a setting or part is unknown, or two cells are the same run.
    """
    base = recipe.load(study.recipe)
    made = []
    for arm in study.arms:
        more = _chosen(study.choose, arm, chosen)
        of_arm = [_cell(study, place, base, arm, seed, f"{arm.name}-s{seed}", more) for seed in study.seeds]
        made.append(of_arm)
    check_distinct([cells[0] for cells in made], study.path.name)
    groups: dict[int, list[list[Cell]]] = {}
    for cells in made:
        group = next((i for i, first in enumerate(study.first) if cells[0].arm.matches(first)), -1)
        groups.setdefault(group % (len(study.first) + 1), []).append(cells)
    return tuple(
        cell
        for _, group in sorted(groups.items())
        for of_seed in zip(*group, strict=True)
        for cell in of_seed
    )


def _chosen(choose: Choose | None, arm: Arm, chosen: Chosen) -> tuple[Settings, ...]:
    return () if choose is None or not chosen else (chosen[choose.key(arm)],)


def _cell(
    study: Study,
    place: Place,
    base: config.Run,
    arm: Arm,
    seed: int,
    name: str,
    more: Sequence[Settings],
) -> Cell:
    overrides = (study.settings, *arm.settings, *more)
    where = f"{study.path.name}: {arm.name}"
    run = overlay(base, [one for one in overrides if one], where)
    rules.check_folder_name(f"{where}: the name made of its labels", name)
    run = replace(run, seed=seed, name=name, runs_dir=place.folder(study), data_dir=place.data_dir)
    return Cell(name, arm, seed, tuple(one for one in overrides if one), run)


def check_distinct(cells: Sequence[Cell], where: str) -> None:
    """Check that no two cells are the same run.

    Raises
    ------
    RunError
        If two are; the line names both.
    """
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(comparison.digest(cell.run), cell)
        if other is not cell:
            raise RunError(
                f"{where}: cells must differ; {other.arm.name} and {cell.arm.name} are the same run: leave "
                "one out by exclude"
            )


def check_unchanged(cells: Sequence[Cell]) -> None:
    """Check that what has run is what the study's file says now.

    Raises
    ------
    RunError
        If a run folder holds a run with other settings; the line has both digests.
    """
    for cell in cells:
        kept = cell.folder / "run.toml"
        if not kept.exists():
            continue
        try:
            table = parsed(tomllib.loads, read_text(kept))
            other = comparison.differences(table, cell.run)
            then = comparison.digest(recipe.from_table(comparison.whole(table), str(kept)))
        except (ValueError, OSError) as error:
            raise RunError(
                f"{kept} must be as `trainer run` wrote it; {error}: move {cell.folder} away"
            ) from None
        if other is not None:
            raise RunError(
                f"cell {cell.name} must be the run that its folder holds; its recipe was {then[:12]} and is "
                f"{comparison.digest(cell.run)[:12]} now ({other}): restore it, or move {cell.folder} away "
                "to run it again"
            )


def check_data(cells: Sequence[Cell], trials: Sequence[Cell] = (), *, now: bool = False) -> None:
    """Check that cells with one ``data`` were trained on one training and one test set.

    Parameters
    ----------
    trials
        Cells of choices, whose test set must be none of the others'.
    now
        Whether more is to be trained, so that the data as they are now count, too.

    Raises
    ------
    RunError
        If digests differ, or a choice was made on a test set.
    """
    first: dict[tuple[str, str | None, str], tuple[str, str]] = {}
    begun = [(cell, cell.name, _digests(cell)) for cell in (*cells, *trials)]
    sets = {(cell.run.data, cell.run.test_data): cell for cell in (*cells, *trials)} if now else {}
    begun += [(cell, "the data now", _now(cell)) for cell in sets.values()]
    for cell, where, digests in begun:
        for name, digest in digests.items():
            known, other = first.setdefault((cell.run.data, cell.run.test_data, name), (where, digest))
            if other != digest:
                raise RunError(
                    f"cells of a study must be of the same data; the {name} set of {known} has sha256 "
                    f"{other[:12]} and that of {where} {digest[:12]}: restore it, or move away the "
                    "folders of those trained on the other"
                )
    tests = {own for cell in cells if (own := _digests(cell).get("test")) is not None}
    for cell in trials:
        if _digests(cell).get("test") in tests:
            raise RunError(
                f"choices must be made on held-out training samples; {cell.name} was evaluated on the test "
                f"set of the cells: move {cell.folder} away"
            )


def _digests(cell: Cell) -> dict[str, str]:
    """Return the digests of the data that a cell began with; empty where it hasn't begun."""
    path = cell.folder / "environment.json"
    if not path.exists():
        return {}
    try:
        found: Any = parsed(json.loads, read_text(path)).get("data_sha256")
    except (ValueError, OSError, AttributeError):
        return {}
    return {name: value for name, value in (found or {}).items() if isinstance(value, str)}


def _now(cell: Cell) -> dict[str, str]:
    """Return the digests of the data that a cell would be trained on; empty where there is none yet."""
    found = {}
    for name, path in zip(("train", "test"), paths(cell.run), strict=True):
        now = open_dataset(path).card.digest if path.exists() else None
        if now is not None:
            found[name] = now
    return found
