"""Recipes: runs as TOML, read with every value checked and written back with every option."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from pipeline.text import parsed, read_text
from trainer.config import Run
from trainer.errors import RunError
from trainer.settings import former
from trainer.settings.streams import Stream
from trainer.slots import RUN_SLOTS, Slot

T = TypeVar("T")

INSTEAD = {"budget": "budget_hours", "budget_hours": "budget"}
"""Settings that take the place of another."""


def load(recipe: str, note: Callable[[str], None] | None = None, over: Sequence[Path] = ()) -> Run:
    """Read a recipe by its name, or from the path of a .toml (a finished run's run.toml, say).

    Parameters
    ----------
    note
        Called with one line if the recipe is of version 0.1, whose settings have other names now.
    over
        Files of settings that replace the recipe's, the last one's above all.

    Raises
    ------
    RunError
        When there is no such recipe, when it isn't TOML, or when it holds an unknown or ill-typed value.
    """
    path = Path(recipe) if recipe.endswith(".toml") else recipes().get(recipe)
    if path is None and recipe.endswith((".beton", ".wds")):
        raise RunError(
            f"a recipe must be named before the data set; got {recipe}: give it as --data {recipe}"
        )
    if path is None:
        raise RunError(f"recipe must be one of {', '.join(recipes())} or the path of a .toml; got {recipe!r}")
    if not path.is_file():
        raise RunError(f"recipe {path} does not exist; `trainer list recipes` shows those that come along")
    table = _read(path)
    table.setdefault("recipe", path.stem)
    _replace(table, over)
    return from_table(table, where=" with ".join(map(str, (path, *over))), note=note)


def replaced(run: Run, files: Sequence[Path]) -> Run:
    """Return a run with the settings of files in place of its own, the last one's above all.

    Raises
    ------
    RunError
        As `load` does.
    """
    if not files:
        return run
    table = to_table(run)
    _replace(table, files)
    return from_table(table, where=" with ".join(map(str, (run.recipe, *files))))


def _replace(table: dict[str, Any], files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise RunError(f"--with must name TOML files of settings; {file} does not exist")
        for key, value in _read(file).items():
            table[key] = value
            table.pop(INSTEAD.get(key, ""), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = parsed(tomllib.loads, read_text(path))
        return table
    # Numbers of more digits than Python reads are ValueErrors, as are texts that aren't TOML or UTF-8.
    except (ValueError, OSError) as error:
        raise RunError(f"{path} must be TOML; {error}") from None


def is_recipe(text: str) -> bool:
    """Whether ``text`` names a recipe of the package, or is the path of one."""
    return text.endswith(".toml") or text in recipes()


def recipes() -> dict[str, Path]:
    """The recipes of the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).with_name("recipes").glob("*.toml"))}


def from_table(table: Mapping[str, Any], where: str, note: Callable[[str], None] | None = None) -> Run:
    """Build a run from a TOML table; a part is its name, or a table with ``name`` and its options.

    Tables of version 0.1 are read, too; ``note`` is called with a line about what has moved.
    """
    values, moved = former.upgraded(table)
    if moved and note is not None:
        note(
            f"{where} is of version 0.1: its {', '.join(moved)} are read as options of the optimizer, "
            'name = "sgd", and decay = "all", as it trained'
        )
    beside = [name for name in former.OPTIMIZER if name in values]
    if beside:
        raise RunError(
            f"{where}: options of the optimizer must stand in its table; got {', '.join(beside)} beside it: "
            f"write them as [optimizer] {beside[0]} = ..."
        )
    if values.get("budget_hours") is not None:
        # In place of the fraction.
        values.setdefault("budget", 1.0)
    for name, slot in RUN_SLOTS.items():
        if name not in values:
            continue
        if slot.many:
            entries = values[name] if isinstance(values[name], list) else [values[name]]
            values[name] = tuple(read_part(slot, entry, where) for entry in entries)
        else:
            values[name] = read_part(slot, values[name], where)
    if "streams" in values:
        values["streams"] = _streams(values["streams"], where)
    for name in ("data", "test_data"):
        # A name or a path.
        if isinstance(values.get(name), str):
            values[name] = os.path.expanduser(values[name])  # noqa: PTH111
    return _build(Run, values, where)


def to_table(run: Run) -> dict[str, Any]:
    """Return the run as a TOML table with every option; values that are None are left out."""
    table: dict[str, Any] = {}
    for item in dataclasses.fields(run):
        value = getattr(run, item.name)
        slot = RUN_SLOTS.get(item.name)
        if slot is not None:
            table[item.name] = (
                [part_table(slot, part) for part in value] if slot.many else part_table(slot, value)
            )
        elif item.name == "streams":
            if value:
                table[item.name] = {stream.name: _stream(stream) for stream in value}
        elif value is not None:
            table[item.name] = _plain(value)
    return table


def dumps(run: Run) -> str:
    """Return the run as the text of run.toml."""
    return tomli_w.dumps(to_table(run))


def part_table(slot: Slot, part: Any) -> dict[str, Any]:
    """Return a part as a TOML table: its name, and its options but those that are None."""
    options = {item.name: getattr(part, item.name) for item in dataclasses.fields(part)}
    known = {key: _plain(value) for key, value in options.items() if value is not None}
    return {"name": slot.part_name(part), **known}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _streams(tables: Any, where: str) -> tuple[Stream, ...]:
    if not isinstance(tables, Mapping) or not all(isinstance(entry, Mapping) for entry in tables.values()):
        raise RunError(
            f"{where}: streams must be tables, one per stream; got {tables!r}: write [streams.NAME]"
        )
    streams = []
    for name, entry in tables.items():
        options = {"name": name, **entry}
        if "sampler" in options:
            options["sampler"] = read_part(
                RUN_SLOTS["sampler"], options["sampler"], f"{where}: streams.{name}"
            )
        if "name" in entry:
            raise RunError(
                f"{where}: streams.{name} must have no name beside its table's; got {entry['name']!r}: leave "
                "it out"
            )
        if "data" not in options:
            raise RunError(f"{where}: streams.{name} must name its data set; got none: write data = ...")
        streams.append(_build(Stream, options, f"{where}: streams.{name}"))
    return tuple(streams)


def _stream(stream: Stream) -> dict[str, Any]:
    return {
        "data": stream.data,
        "ratio": stream.ratio,
        "sampler": part_table(RUN_SLOTS["sampler"], stream.sampler),
    }


def read_part(slot: Slot, entry: Any, where: str) -> Any:
    """Build a part from its name, or from a TOML table with ``name`` and its options.

    Raises
    ------
    RunError
        When there is no such part, or an option is unknown, of the wrong type or out of range.
    """
    options = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise RunError(f"{where}: {slot.name} must be a part's name, or a table with a name; got {entry!r}")
    cls = slot.part_type(name)
    # A part may have an option of the same name as its key in the table: TorchvisionModel's is "arch".
    return _build(cls, options, f"{where}: {slot.name} {name}")


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    hints = typing.get_type_hints(cls)
    names = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise RunError(f"{where}: option must be one of {', '.join(names) or '(none)'}; got {key!r}")
    typed = {
        key: value if key in RUN_SLOTS else _typed(value, hints[key], f"{where}: {key}")
        for key, value in values.items()
    }
    return cls(**typed)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Check a TOML value against an annotation, converting loose notations (1 for 1.0)."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for option in options:
            try:
                return _typed(value, option, where)
            except RunError:
                continue
    elif origin is Literal:
        if value in options:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            inner = options[:1] * len(value) if options[-1] is Ellipsis else options
            if len(inner) == len(value):
                return tuple(_typed(item, kind, where) for item, kind in zip(value, inner, strict=True))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
        raise RunError(f"{where} must be float; got a number of {len(str(value))} digits: give a smaller one")
    elif hint is Path and isinstance(value, str):
        return Path(os.path.expanduser(value))  # noqa: PTH111  (leaves an unknown user's as it is)
    elif hint is type(None):
        if value is None:
            return None
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = " | ".join(map(repr, options)) if origin is Literal else getattr(hint, "__name__", str(hint))
    raise RunError(f"{where} must be {wanted}; got {value!r}")
