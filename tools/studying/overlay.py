"""Overrides on a run's TOML table, as a study's file writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer import config, recipe
from trainer.errors import RunError
from trainer.slots import RUN_SLOTS, Slot

RESERVED = {
    "seed": "list the study's seeds as seeds = [0, 1, 2]",
    "name": "a cell's folder is named by the labels of its values",
    "runs_dir": "give --runs-dir",
    "data_dir": "give --data-dir",
    "accept_changed_data": "cells of one study are trained on the same data",
}
"""Settings that a study decides itself, and the remedy for each."""


def overlay(base: config.Run, overrides: Sequence[Mapping[str, Any]], where: str) -> config.Run:
    """Return a run with settings replaced, later overrides over earlier ones.

    A part is a name, which keeps the options of a part of that name in ``base``, or a table with a name and
    options; ``{"optimizer.lr": 0.1}`` sets one option of the part in use, ``{"augment.ricap.alpha": 1.0}``
    one of a part in a sequence. A chain of augmentations that names no crop is completed as on the command
    line.

    Raises
    ------
    RunError
        If a setting or part is unknown, of the wrong type or out of range; the line begins with ``where``.
    """
    table = recipe.to_table(base)
    for overrides_of_one in overrides:
        # Parts are chosen before their options are set, whatever their order in the file.
        for key, value in sorted(overrides_of_one.items(), key=lambda item: "." in item[0]):
            if key in RESERVED:
                raise RunError(f"{where}: {key} must not be set in a study: {RESERVED[key]}")
            if "." in key:
                _set_option(table, key, value, where)
            elif key in RUN_SLOTS:
                table[key] = _chosen(RUN_SLOTS[key], base, table[key], value, where)
            else:
                table[key] = value
                table.pop(recipe.INSTEAD.get(key, ""), None)
    try:
        return recipe.from_table(table, where)
    except ValueError as error:
        said = str(error)
        raise RunError(said if said.startswith(where) else f"{where}: {said}") from None


def _chosen(slot: Slot, base: config.Run, before: Any, value: Any, where: str) -> Any:
    """Return the TOML entry of a slot, with the options of the parts that are kept."""
    # An earlier override may have left a bare name, or what isn't a part and is refused as one below.
    earlier = before if slot.many else [before]
    kept = {entry["name"]: entry for entry in earlier if isinstance(entry, Mapping) and "name" in entry}
    if not slot.many:
        return kept.get(value, value) if isinstance(value, str) else value
    named = value if isinstance(value, list) else [value]
    entries = [kept.get(entry, entry) if isinstance(entry, str) else entry for entry in named]
    parts = [recipe.read_part(slot, entry, where) for entry in entries]
    whole = slot.complete(parts, getattr(base, slot.name), base.data)
    return [recipe.part_table(slot, part) for part in whole]


def _set_option(table: dict[str, Any], key: str, value: Any, where: str) -> None:
    name, *path = key.split(".")
    if name not in RUN_SLOTS:
        raise RunError(f"{where}: {key} must begin with a slot, one of {', '.join(RUN_SLOTS)}; got {name!r}")
    slot = RUN_SLOTS[name]
    if slot.many:
        part, option = (path[0], path[-1]) if len(path) == 2 else ("", "")
        entries = [entry for entry in table[name] if entry["name"] == part]
        if len(entries) != 1:
            parts = ", ".join(entry["name"] for entry in table[name])
            raise RunError(
                f"{where}: {key} must name a part in use and its option, as {name}.NAME.OPTION; {name} "
                f"is {parts}"
            )
        table[name] = [{**entry, option: value} if entry is entries[0] else entry for entry in table[name]]
        return
    if len(path) != 1:
        raise RunError(f"{where}: {key} must name an option, as {name}.OPTION")
    own = table[name] if isinstance(table[name], Mapping) else {"name": table[name]}
    table[name] = {**own, path[0]: value}


def flat(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield settings as they are shown: ``optimizer.lr = 0.1``."""
    for key, value in settings.items():
        yield f"{key} = {plain(value)}"


def plain(value: Any) -> str:
    """Return a value in words: a number, a name, names joined by +, or a part's name with its options."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(plain(item) for item in value)
    if isinstance(value, Mapping):
        options = ", ".join(f"{key} {plain(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')}({options})"
    return str(value)
