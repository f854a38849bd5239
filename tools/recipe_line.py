"""Command lines that begin with a recipe: each part's options are there once the part is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

import tyro

from tools.arguments import UsageError, asks_for_help, chosen, parse
from trainer import chains, config, recipe
from trainer.config import SLOTS, Settings, part_name, part_type
from trainer.errors import RunError

HELP = {
    "model": "Network to train",
    "sampler": "Which samples to load",
    "augment": "Augmentations on the device, in this order; the recipe's crop and flip join them unless they "
    "have their own or begin with none",
    "schedule": "Learning rate over the budget",
    "method": "What is being learned",
    "engine": "How images are read",
    "resolution": "Resolution and strength of the augmentation over the budget",
    "selection": "Which of the loaded samples to learn from",
}


def read_run(
    words: Sequence[str], prog: str, description: str, more: type | None = None
) -> tuple[config.Run, Any]:
    """Read a recipe's name or path and the options that override it.

    Parameters
    ----------
    more
        A dataclass of further options, all with defaults, which the command has for itself.

    Returns
    -------
    The run, and an instance of ``more``.

    Raises
    ------
    UsageError
        When the words aren't options, or an option's value is of the wrong type.
    RunError
        When the recipe or a part is unknown, or a value is out of range.
    """
    # Options are typed by the parts in use, so those are looked up before the command line is parsed.
    named = words[0] if words and not words[0].startswith("-") else None
    base = recipe.load(named) if named is not None else config.Run()
    parts = {slot: _chosen_parts(slot, base, words) for slot in SLOTS}
    line = _command_line(base, parts, more)
    if asks_for_help(words):
        # Whatever else is said: `--sampler --help` asks which samplers there are.
        words = ["--help"]
    _check_owners(words, parts)
    given: Any = parse(line, words, prog, description=description)
    if named is None:
        raise RunError(f"a recipe must be named first, one of {', '.join(recipe.recipes())}; got none")
    settings = {item.name: getattr(given.settings, item.name) for item in dataclasses.fields(Settings)}
    single = {slot: _options(given, slot, parts[slot])[0] for slot in SLOTS if slot != "augment"}
    chain = tuple(_options(given, "augment", parts["augment"]))
    run = config.Run(recipe=base.recipe, **settings, **single, augment=chain)
    return run, given.more if more is not None else None


def _chosen_parts(slot: str, base: config.Run, words: Sequence[str]) -> list[Any]:
    """The parts of a slot that this run uses, with the recipe's options for those that stay."""
    current = getattr(base, slot)
    before = list(current) if slot == "augment" else [current]
    names = chosen(words, f"--{slot}")
    if names is None or (not names and asks_for_help(words)):
        return before
    if not names:
        raise UsageError(f"--{slot} must be given a name, one of {', '.join(SLOTS[slot])}; got none")
    commas = next((name for name in names if "," in name), None)
    if commas is not None:
        apart = " ".join(part for part in commas.split(",") if part)
        raise UsageError(f"--{slot} takes names with spaces between them; got {commas}: write {apart}")
    if slot != "augment" and len(names) > 1:
        raise RunError(f"--{slot} takes one part; got {' '.join(names)}")
    kept = {part_name(slot, part): part for part in before}
    parts = [kept[name] if name in kept else part_type(slot, name)() for name in names]
    if slot == "augment":
        if not asks_for_help(words):
            chains.check(parts)
        return list(chains.complete(parts, chains.base_of(before, base.data)))
    return parts


def _check_owners(words: Sequence[str], parts: Mapping[str, list[Any]]) -> None:
    """Refuse an option of a part that isn't chosen, by the name of the part that has it."""
    for word in words:
        option = word.partition("=")[0]
        slot, _, rest = option.removeprefix("--").partition(".")
        if slot not in SLOTS or not option.startswith("--") or not rest:
            continue
        used = [part_name(slot, part) for part in parts[slot]]
        if slot == "augment":
            having = [name for name in (rest.partition(".")[0],) if name in SLOTS[slot]]
            remedy = f"add it, as --augment {' '.join((*used, *having))}"
        else:
            field_name = rest.replace("-", "_")
            having = [name for name, cls in SLOTS[slot].items() if field_name in _field_names(cls)]
            remedy = f"choose one by --{slot}, or leave {option} out"
        if having and not set(having) & set(used):
            raise UsageError(f"{option} is an option of {', '.join(having)}; got {' '.join(used)}: {remedy}")


def _field_names(part: type) -> list[str]:
    return [item.name for item in dataclasses.fields(part)]


def _command_line(base: config.Run, parts: Mapping[str, list[Any]], more: type | None) -> type:
    """A dataclass with the settings, a name a slot, and the options of the parts in use."""
    settings = Settings(**{item.name: getattr(base, item.name) for item in dataclasses.fields(Settings)})
    fields: list[Any] = [
        (
            "recipe",
            tyro.conf.Positional[
                Annotated[
                    str,
                    tyro.conf.arg(
                        help="Recipe to begin with.", metavar="RECIPE", help_behavior_hint="(required)"
                    ),
                ]
            ],
            field(default=""),
        ),
        ("settings", Annotated[Settings, tyro.conf.arg(name="")], field(default=settings)),
    ]
    if more is not None:
        fields.insert(1, ("more", Annotated[more, tyro.conf.arg(name="")], field(default_factory=more)))
    for slot, used in parts.items():
        names = tuple(part_name(slot, part) for part in used)
        text = f"{HELP[slot]}: {', '.join(SLOTS[slot])}."
        kind: Any = tuple[str, ...] if slot == "augment" else str
        default: Any = names if slot == "augment" else names[0]
        metavar = "NAME [NAME ...]" if slot == "augment" else "NAME"
        fields.append(
            (slot, Annotated[kind, tyro.conf.arg(help=text, metavar=metavar)], field(default=default))
        )
    for slot, used in parts.items():
        # Of a part that stands twice in a chain, each keeps the recipe's options: which would a name mean?
        owners = [part_name(slot, part) for part in used]
        named = {
            name: part
            for name, part in zip(owners, used, strict=True)
            if dataclasses.fields(part) and owners.count(name) == 1
        }
        fields += [_option_group(slot, name, part) for name, part in named.items()]
    return dataclasses.make_dataclass("Options", fields, frozen=True)


def _option_group(slot: str, name: str, part: Any) -> Any:
    prefix = f"{slot}.{name}" if slot == "augment" else slot
    kind: Any = Annotated[type(part), tyro.conf.arg(name=prefix)]
    return (f"{slot}_{name}", kind, field(default=part))


def _options(given: Any, slot: str, used: Sequence[Any]) -> list[Any]:
    """The parts in use with the options of the command line."""
    return [getattr(given, f"{slot}_{part_name(slot, part)}", part) for part in used]
