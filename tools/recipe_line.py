"""Command lines that begin with a recipe; the options of a part exist once the part is chosen."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from tools.arguments import UsageError, asks_for_help, chosen, parse
from tools.streams import say
from trainer import config, recipe
from trainer.automatic.choices import Choice
from trainer.config import Settings
from trainer.errors import RunError
from trainer.methods import MethodConfig
from trainer.settings import former
from trainer.settings.rules import CHOICES
from trainer.settings.streams import Stream
from trainer.slots import RUN_SLOTS, Slot

_WITH = (
    "TOML files of settings that replace the recipe's, such as `trainer tune` writes; options override both."
)


def read_run(
    words: Sequence[str], prog: str, description: str, more: type | None = None
) -> tuple[config.Run, Any]:
    """Parse what is to be trained, a recipe or images, and the options that override it: see `read_line`."""
    line = read_line(words, prog, description, more)
    return line.run, line.more


@dataclass(frozen=True)
class Line:
    """A command line.

    Attributes
    ----------
    run
        The run that it describes.
    more
        The command's own options; None if it has none.
    choices
        Settings that were chosen for images without a recipe, and are in force.
    """

    run: config.Run
    more: Any = None
    choices: tuple[Choice, ...] = ()


def read_line(words: Sequence[str], prog: str, description: str, more: type | None = None) -> Line:
    """Parse a recipe's name or path, or images, and the options that override it.

    Images that have no recipe are converted on first use, and a recipe is chosen for them; the choices are
    printed, a line each.

    Parameters
    ----------
    more
        A dataclass of the command's own options, all with defaults.

    Raises
    ------
    UsageError
        If the words aren't options, or an option's value is of the wrong type.
    RunError
        If the recipe or a part is unknown, or a value is out of range.
    DataError
        If images can't be read.
    """
    # The chosen parts determine the options, so they are looked up before the command line is parsed.
    words = [_renamed(word) for word in words]
    _check_renamed(words)
    named = words[0] if words and not words[0].startswith("-") else None
    if named is not None and not recipe.is_recipe(named) and not asks_for_help(words):
        return _without_recipe(named, words, prog, description, more)
    known = named is not None and recipe.is_recipe(named)
    base = recipe.load(str(named), _note, _over(words)) if known else config.Run()
    given = _parsed(base, words, prog, description, more)
    if named is None:
        raise RunError(
            f"a recipe or images must be named first: one of {', '.join(recipe.recipes())}, the path of a "
            ".toml, or a folder, an archive or a converted set of images; got none"
        )
    return given


def _without_recipe(named: str, words: Sequence[str], prog: str, description: str, more: type | None) -> Line:
    """Return the command line of images that have no recipe, after converting them where they must be."""
    # Imported here: conversions and their progress aren't needed where there is a recipe.
    from tools.without_recipe import open_images

    def parsed(base: config.Run, words: Sequence[str]) -> Line:
        return _parsed(recipe.replaced(base, _over(words)), words, prog, description, more)

    return open_images(named, words, parsed)


def _over(words: Sequence[str]) -> list[Path]:
    """Return the files of settings that replace the recipe's."""
    return [Path(word) for word in chosen(words, "--with") or ()]


def _parsed(base: config.Run, words: Sequence[str], prog: str, description: str, more: type | None) -> Line:
    """Return the command line of options that override ``base``."""
    base = _of_one_choice(_of_one_budget(base, words), words)
    parts = {name: _chosen_parts(slot, base, words) for name, slot in RUN_SLOTS.items()}
    line = _command_line(base, parts, more)
    if asks_for_help(words):
        # Whatever the other words: `--sampler --help` lists the samplers.
        words = ["--help"]
    _check_owners(words, parts)
    given: Any = parse(line, words, prog, description=description)
    settings = {item.name: getattr(given.settings, item.name) for item in dataclasses.fields(Settings)}
    filled = _filled(given, parts)
    streams = _streams(base, filled.get("method", base.method))
    run = config.Run(recipe=base.recipe, streams=streams, **settings, **filled)
    return Line(run, given.more if more is not None else None)


def _streams(base: config.Run, method: MethodConfig) -> tuple[Stream, ...]:
    """Return the recipe's streams, without those of its method that another method doesn't take."""
    left = [one for one in base.streams if one.name in base.method.streams and one.name not in method.streams]
    for stream in left:
        _note(f"the recipe's stream {stream.name} is left out: this method doesn't take it")
    return tuple(stream for stream in base.streams if stream not in left)


def _note(text: str) -> None:
    """Print a note, only once if several ranks read the same command line."""
    if os.environ.get("RANK", "0") == "0":
        say(f"note: {text}")


def _renamed(word: str) -> str:
    """Return an option by its own name; in recipes ``name`` is the part's, so a network's is ``arch``.

    >>> _renamed("--model.name=vit_tiny_patch16_224"), _renamed("--name=model")
    ('--model.arch=vit_tiny_patch16_224', '--name=model')
    """
    option, equals, value = word.partition("=")
    return f"--model.arch{equals}{value}" if option == "--model.name" else word


def _check_renamed(words: Sequence[str]) -> None:
    """Raise UsageError for options of version 0.1 that were renamed, with the new name."""
    for word in words:
        option, equals, value = word.partition("=")
        now = former.option_now(option)
        if now is not None:
            what = "an option of the optimizer" if now.startswith("--optimizer.") else "renamed"
            raise UsageError(f"{option} is {what} now: write {now}{equals}{value}")


def _of_one_budget(base: config.Run, words: Sequence[str]) -> config.Run:
    """Return a recipe without its budget where the words give one of the other kind.

    Raises
    ------
    UsageError
        If they give both.
    """
    options = {word.partition("=")[0].replace("_", "-") for word in words}
    if {"--budget", "--budget-hours"} <= options:
        raise UsageError("--budget and --budget-hours exclude each other; got both: leave one of them out")
    if "--budget-hours" in options:
        return dataclasses.replace(base, budget=1.0, counts="trained")
    if "--budget" in options:
        return dataclasses.replace(base, budget_hours=None, budget_clock="training")
    return base


def _of_one_choice(base: config.Run, words: Sequence[str]) -> config.Run:
    """Return a recipe without its choice of labelled samples where the words make another."""
    options = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words}
    if options.isdisjoint(CHOICES):
        return base
    return dataclasses.replace(base, **CHOICES)


def _chosen_parts(slot: Slot, base: config.Run, words: Sequence[str]) -> list[Any]:
    """Return the parts of a slot that this run uses, with the recipe's options for those that are kept."""
    current = getattr(base, slot.name)
    before = list(current) if slot.many else [current]
    names = chosen(words, f"--{slot.name}")
    if names is None or (not names and asks_for_help(words)):
        return before
    if not names:
        raise UsageError(f"--{slot.name} must be given a name, one of {', '.join(slot.table)}; got none")
    commas = next((name for name in names if "," in name), None)
    if commas is not None:
        apart = " ".join(part for part in commas.split(",") if part)
        raise UsageError(f"--{slot.name} takes names with spaces between them; got {commas}: write {apart}")
    if not slot.many and len(names) > 1:
        raise RunError(f"--{slot.name} takes one part; got {' '.join(names)}")
    kept = {slot.part_name(part): part for part in before}
    parts = [kept[name] if name in kept else slot.part_type(name)() for name in names]
    if slot.many:
        if not asks_for_help(words):
            slot.check(parts)
        return list(slot.complete(parts, before, base.data))
    return parts


def _check_owners(words: Sequence[str], parts: Mapping[str, list[Any]]) -> None:
    """Raise UsageError for an option that the chosen part lacks, with those that it has or whose it is."""
    for word in words:
        option = word.partition("=")[0]
        name, _, rest = option.removeprefix("--").partition(".")
        slot = RUN_SLOTS.get(name)
        if slot is None or not option.startswith("--") or not rest:
            continue
        used = [slot.part_name(part) for part in parts[name]]
        if slot.many:
            having = [part for part in (rest.partition(".")[0],) if part in slot.table]
            remedy = f"add it, as --{name} {' '.join((*used, *having))}"
        else:
            field_name = rest.replace("-", "_").removeprefix("no_")
            having = [part for part, cls in slot.table.items() if field_name in _field_names(cls)]
            there = ", ".join(
                slot.prefix(part) + one.replace("_", "-")
                for part in used
                for one in _field_names(slot.table[part])
            )
            remedy = f"choose one by --{name}, or take of its own {there or '(none)'}"
            if not having:
                raise UsageError(f"{option} must be an option of {used[0]}: {there or 'it has none'}")
        if having and not set(having) & set(used):
            raise UsageError(f"{option} is an option of {', '.join(having)}; got {' '.join(used)}: {remedy}")


def _field_names(part: type) -> list[str]:
    return [item.name for item in dataclasses.fields(part)]


def _command_line(base: config.Run, parts: Mapping[str, list[Any]], more: type | None) -> type:
    """Return a dataclass of the settings, one name per slot, and the options of the parts in use."""
    settings = Settings(**{item.name: getattr(base, item.name) for item in dataclasses.fields(Settings)})
    fields: list[Any] = [
        (
            "recipe",
            tyro.conf.Positional[
                Annotated[
                    str,
                    tyro.conf.arg(
                        help="Recipe to start from, or images to choose one for.",
                        metavar="RECIPE",
                        help_behavior_hint="(required)",
                    ),
                ]
            ],
            field(default=""),
        ),
        (
            "over",
            Annotated[
                tuple[Path, ...],
                tyro.conf.arg(name="with", help=_WITH, metavar="FILE [FILE ...]", help_behavior_hint=""),
            ],
            field(default=()),
        ),
        ("settings", Annotated[Settings, tyro.conf.arg(name="")], field(default=settings)),
    ]
    if more is not None:
        fields.insert(1, ("more", Annotated[more, tyro.conf.arg(name="")], field(default_factory=more)))
    for slot in RUN_SLOTS.values():
        names = tuple(slot.part_name(part) for part in parts[slot.name])
        text = f"{slot.help}: {', '.join(slot.table)}."
        kind: Any = tuple[str, ...] if slot.many else str
        default: Any = names if slot.many else names[0]
        metavar = "NAME [NAME ...]" if slot.many else "NAME"
        fields.append(
            (slot.name, Annotated[kind, tyro.conf.arg(help=text, metavar=metavar)], field(default=default))
        )
    for slot in RUN_SLOTS.values():
        used = parts[slot.name]
        # Parts that occur twice in a chain keep the recipe's options: their names would be ambiguous.
        owners = [slot.part_name(part) for part in used]
        named = {
            name: part
            for name, part in zip(owners, used, strict=True)
            if dataclasses.fields(part) and owners.count(name) == 1
        }
        fields += [_option_group(slot, name, part) for name, part in named.items()]
    return dataclasses.make_dataclass("Options", fields, frozen=True)


def _option_group(slot: Slot, name: str, part: Any) -> Any:
    prefix = slot.prefix(name).removeprefix("--").removesuffix(".")
    kind: Any = Annotated[type(part), tyro.conf.arg(name=prefix)]
    return (f"{slot.name}_{name}", kind, field(default=part))


def _filled(given: Any, parts: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return the content of each slot: the parts in use, with the options of the command line."""
    filled = {}
    for name, slot in RUN_SLOTS.items():
        used = [getattr(given, f"{name}_{slot.part_name(part)}", part) for part in parts[name]]
        filled[name] = tuple(used) if slot.many else used[0]
    return filled
