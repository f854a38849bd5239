"""``trainer run``: one timed training run under a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from rich.console import Console

from tools.arguments import chosen, parse
from tools.progress import TerminalWatcher, summary
from tools.report import write_report
from trainer import config
from trainer.config import SLOTS, Settings, part_name, part_type
from trainer.errors import RunError
from trainer.loop import train
from trainer.parallel import World, join, leave
from trainer.record import RunFolder, folder_name

DESCRIPTION = """Train under a budget, timed, and write a report.

A recipe is a name (see `trainer list recipes`) or the path of a .toml, such as an earlier run's run.toml.
Options override it. A part's own options follow its slot's name, as in `--sampler p_sgd
--sampler.warmup-rounds 10`; name the parts you want before --help, and it shows their options.

A run that was stopped goes on with the same command, and a run that is finished is not run again.
"""

HELP = {
    "model": "Network to train",
    "sampler": "Which samples to load",
    "augment": "Augmentations on the device, in this order; mixing alone goes after the standard one",
    "schedule": "Learning rate over the budget",
    "method": "What is being learned",
    "engine": "How images are read",
}


@dataclass(frozen=True)
class Run:
    """One training run, to be carried out or found done."""

    run: config.Run

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Run:
        """Read a command line: the recipe first, then what overrides it.

        Raises
        ------
        UsageError
            When the words aren't options, or an option's value is of the wrong type.
        RunError
            When the recipe or a part is unknown, or a value is out of range.
        """
        return cls(_parse(words, prog))

    def execute(self, console: Console) -> int:
        """Train, write the report, and print what it cost and what it bought."""
        world = join()
        try:
            return self._execute(console, world)
        finally:
            leave()

    def _execute(self, console: Console, world: World) -> int:
        folder_path = self.run.runs_dir / folder_name(self.run)
        if not world.leads:
            console = Console(quiet=True)
        folder = RunFolder(folder_path, self.run)
        if folder.finished:
            console.print(
                f"This run is finished; its folder is {folder.path}. Give another --name to run it again."
            )
        else:
            with TerminalWatcher(console) as watcher:
                train(self.run, folder, world, watcher).close()
        if world.leads:
            report = write_report([folder.path], folder.path / "report.html")
            console.print(summary(folder))
            console.print(f"report: {report}", soft_wrap=True)
        return 0


# --- Command line ----------------------------------------------------------------------------------------


def _parse(words: Sequence[str], prog: str) -> config.Run:
    """Options are typed by the parts in use, so those are looked up before the command line is parsed."""
    named = words[0] if words and not words[0].startswith("-") else None
    base = config.load(named) if named is not None else config.Run()
    parts = {slot: _chosen_parts(slot, base, words) for slot in SLOTS}
    line = _command_line(base, parts)
    given: Any = parse(line, words, prog, description=DESCRIPTION)
    if named is None:
        raise RunError(f"a recipe must be named first, one of {', '.join(config.recipes())}; got none")
    settings = {item.name: getattr(given.settings, item.name) for item in dataclasses.fields(Settings)}
    single = {slot: _options(given, slot, parts[slot])[0] for slot in SLOTS if slot != "augment"}
    chain = tuple(_options(given, "augment", parts["augment"]))
    return config.Run(recipe=base.recipe, **settings, **single, augment=chain)


def _chosen_parts(slot: str, base: config.Run, words: Sequence[str]) -> list[Any]:
    """The parts of a slot that this run uses, with the recipe's options for those that stay."""
    current = getattr(base, slot)
    before = list(current) if slot == "augment" else [current]
    names = chosen(words, f"--{slot}")
    if not names:
        return before
    if slot != "augment" and len(names) > 1:
        raise RunError(f"--{slot} takes one part; got {' '.join(names)}")
    kept = {part_name(slot, part): part for part in before}
    parts = [kept[name] if name in kept else part_type(slot, name)() for name in names]
    if slot == "augment":
        standard = kept.get("standard") or part_type(slot, "standard")()
        return list(config.with_base(tuple(parts), standard))
    return parts


def _command_line(base: config.Run, parts: Mapping[str, list[Any]]) -> type:
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
        fields += [_option_group(slot, part) for part in used if dataclasses.fields(part)]
    return dataclasses.make_dataclass("Options", fields, frozen=True)


def _option_group(slot: str, part: Any) -> Any:
    name = part_name(slot, part)
    prefix = f"{slot}.{name}" if slot == "augment" else slot
    kind: Any = Annotated[type(part), tyro.conf.arg(name=prefix)]
    return (f"{slot}_{name}", kind, field(default=part))


def _options(given: Any, slot: str, used: Sequence[Any]) -> list[Any]:
    """The parts in use with the options of the command line."""
    return [getattr(given, f"{slot}_{part_name(slot, part)}", part) for part in used]
