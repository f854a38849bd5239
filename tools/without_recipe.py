"""Command lines that name images in place of a recipe."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, TaskID

from tools.arguments import UsageError
from tools.convert import image_progress
from trainer import config, recipe
from trainer.automatic import images
from trainer.automatic.choices import Choice
from trainer.automatic.facts import Machine, Wish
from trainer.automatic.images import Found
from trainer.errors import RunError
from trainer.models import Published
from trainer.models.timm import TimmModel
from trainer.slots import RUN_SLOTS, SLOTS

if TYPE_CHECKING:
    from tools.recipe_line import Line

_WISHES = ("--model", "--init-from", "--freeze", "--device", "--data-dir", "--budget-hours")
"""Options that choices must fit."""


def open_images(
    named: str, words: Sequence[str], parsed: Callable[[config.Run, Sequence[str]], Line]
) -> Line:
    """Return a command line that names images, with a recipe chosen for them.

    The images are converted unless an earlier run did that; the choices are printed, a line each.

    Parameters
    ----------
    named
        The images.
    words
        The whole command line.
    parsed
        Parses the options that override a run.

    Raises
    ------
    UsageError
        If the options can't be parsed.
    RunError, DataError
        If there are no such images, or they can't be converted or trained on.
    """
    if any(word.partition("=")[0] == "--data" for word in words):
        raise UsageError(f"--data names the images, and so does {named}: leave one of them out")
    asked = parsed(config.Run(), [named, *_of_wishes(words)]).run
    found = images.find(named, asked.data_dir)
    if found is None:
        raise RunError(
            f"recipe must be one of {', '.join(recipe.recipes())}, the path of a .toml, or a folder, an "
            f"archive or a converted set of images; got {named!r}, and there is no such file"
        )
    machine, wish = images.machine_of(asked.device), wish_of(asked, words)
    # A wrong option is told of before a long conversion.
    parsed(images.prospect(found, machine, wish), words)
    _prepare(found, machine)
    base, choices = images.chosen(found, machine, wish)
    line = parsed(base, words)
    _say(f"data: {line.run.data}, evaluated on {images.evaluated_on(line.run)}")
    kept = [one for one in choices if getattr(line.run, one.setting) == getattr(base, one.setting)]
    for choice in kept:
        _say(f"{choice.setting}: {said(choice.value)} ({choice.reason})")
    return dataclasses.replace(line, choices=tuple(kept))


def _of_wishes(words: Sequence[str]) -> list[str]:
    """Return the options that choices must fit, with their values; a network's where it is named."""
    found, takes = [], False
    for word in words:
        if word.startswith("--"):
            option, _, own = word.partition("=")[0].replace("_", "-").partition(".")
            takes = option in _WISHES and (not own or _names_network(words))
        if takes:
            found.append(word)
    return found


def _names_network(words: Sequence[str]) -> bool:
    return any(word.partition("=")[0] == "--model" for word in words)


def wish_of(asked: config.Run, words: Sequence[str]) -> Wish:
    """Return what a run with the options of a command line asks for."""
    named = _names_network(words)
    model = asked.model
    fine_tunes = asked.init_from is not None or bool(getattr(model, "pretrained", False))
    arch = getattr(model, "arch", SLOTS["model"].named(asked))
    return Wish(
        network=arch if named else None,
        fine_tunes=fine_tunes,
        classifier="backbone" in asked.freeze,
        pixels=model.pixels() if named and isinstance(model, TimmModel) else None,
        hours=asked.budget_hours is not None,
        normalization=model.normalization() if fine_tunes and isinstance(model, Published) else None,
    )


def _prepare(found: Found, machine: Machine) -> None:
    with ExitStack() as stack:
        bars: list[Progress] = []
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(image_progress(Console(stderr=True))))
            if name not in tasks:
                tasks[name] = bars[0].add_task(f"converting {name}", total=total)
            bars[0].update(tasks[name], completed=done)

        images.prepare(found, machine, report, _say)


def _say(line: str) -> None:
    # Ranks read the same command line.
    if os.environ.get("RANK", "0") == "0":
        Console(markup=False, emoji=False).print(line, highlight=False, soft_wrap=True)


def said(value: Any) -> str:
    """Return a choice's value in words.

    >>> said({"name": "sgd", "lr": 0.1}), said([{"name": "standard", "padding": 4}, "ricap"]), said(0.5)
    ('sgd, lr 0.1', 'standard, padding 4 + ricap', '0.5')
    """
    if isinstance(value, Mapping):
        options = [f"{key} {said(one)}" for key, one in value.items() if key != "name"]
        return ", ".join([str(value["name"]), *options])
    if isinstance(value, list):
        numbers = all(isinstance(one, float) for one in value)
        between = " + " if not numbers else " to " if len(value) == 2 else " "
        return between.join(said(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def recipe_text(run: config.Run, choices: Sequence[Choice], path: Path) -> str:
    """Return the recipe of a run as TOML: what isn't at its default, with the reasons of what was chosen.

    Parameters
    ----------
    path
        Where it is going to be kept.
    """
    reasons = {choice.setting: choice.reason for choice in choices}
    lines = [
        f"# Chosen for {run.data} and this machine. Edit it, and run it:",
        "#",
        f"#   trainer run {path}",
    ]
    usual = recipe.to_table(config.Run())
    for key, value in recipe.to_table(run).items():
        slot = RUN_SLOTS.get(key)
        if key == "name" or (value == usual.get(key) and key not in reasons and key != "data"):
            continue
        if key in reasons:
            lines.append(f"# {reasons[key]}")
        if slot is not None:
            parts = [
                _short(slot.table[part["name"]](), slot, part) for part in (value if slot.many else [value])
            ]
            lines.append(f"{key} = {_toml(parts if slot.many else parts[0])}")
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _short(usual: Any, slot: Any, part: Mapping[str, Any]) -> Any:
    """Return a part's TOML without the options that are at their defaults."""
    defaults = recipe.part_table(slot, usual)
    own = {key: value for key, value in part.items() if key == "name" or value != defaults.get(key)}
    return own["name"] if len(own) == 1 else own


def _toml(value: Any) -> str:
    """Return a value in one line of TOML; its strings are JSON's."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
