"""``trainer profile``: times the components of a training step and finds the bottleneck."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from tools.outputs import check_output
from tools.profiling.components import PART, Stages
from tools.profiling.finding import Measured, sentence
from tools.profiling.timing import take_turns
from tools.profiling.whole import Loop, session_at
from tools.progress import TerminalWatcher
from tools.recipe_line import read_run
from trainer import config
from trainer.data import open_data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.session import Session
from trainer.slots import SLOTS

DESCRIPTION = """Time every component of a training step alone and all of them together; name the bottleneck.

Takes the command line of `trainer run`. Components are timed on a few batches in memory; then the training
loop makes some dozens of steps, as the run would. Nothing is trained, and no run folder is created.
"""


@dataclass(frozen=True)
class Options:
    """Options of a profile, besides the run's own."""

    seconds: float = 20.0
    """Seconds to measure, excluding set-up; medians are reported."""

    at: float = 0.5
    """Point of the run, as a fraction of the budget, for schedules of resolution and selection."""

    json: Path | None = None
    """File to write the figures to."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise RunError(f"seconds must be above 0; got {self.seconds:g}")
        if not 0 <= self.at < 1:
            raise RunError(f"at must be at least 0 and below 1, a fraction of the budget; got {self.at:g}")


@dataclass(frozen=True)
class Profile:
    """A run to be profiled."""

    run: config.Run
    options: Options

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Profile:
        """Parse a command line: that of `trainer run`, and the profile's own options.

        Raises
        ------
        UsageError
            If the words aren't options, or an option's value is of the wrong type.
        RunError
            If the recipe or a part is unknown, or a value is out of range.
        """
        return cls(*read_run(words, prog, DESCRIPTION, Options))

    def execute(self, console: Console) -> int:
        """Measure, print a table and a sentence, and write the results."""
        if self.options.json is not None:
            check_output("--json", self.options.json, "profile.json", mark=b'"setting"')
        if self.run.threads is not None:
            torch.set_num_threads(self.run.threads)
        with TerminalWatcher(console) as watcher:
            data = open_data(self.run, World(), watcher.converting)
        with tempfile.TemporaryDirectory(prefix="trainer-profile-") as scratch:
            session = session_at(self.run, data, self.options.at, Path(scratch) / "run")
            try:
                measured = measure(session, self.run, self.options.seconds)
                setting = _setting(session, self.options.at)
            finally:
                session.close()
        console.print(setting, highlight=False, soft_wrap=True)
        console.print(table(measured))
        console.print(sentence(measured), highlight=False, markup=False, soft_wrap=not console.is_terminal)
        if self.options.json is not None:
            text = dumps({"schema": 1, "setting": setting, **figures(measured)}, indent=2)
            write_whole(self.options.json, (text + "\n").encode())
        return 0


def measure(session: Session, run: config.Run, seconds: float) -> Measured:
    """Time a session's components and its loop, interleaved, for about ``seconds``."""
    stages = Stages(session)
    try:
        medians = take_turns([*stages.works(), Loop(session)], seconds)
    finally:
        stages.close()
    step, wait = medians.pop("loop"), medians.pop("wait")
    parts = {name.removeprefix(PART): medians.pop(name) for name in list(medians) if name.startswith(PART)}
    return Measured(run, medians, parts, step, wait, stages.beside, stages.loading.decodes)


def _setting(session: Session, at: float) -> str:
    run, device = session.run, session.device
    number = torch.get_num_threads()
    threads = f", {number} thread{'s' if number > 1 else ''}" if device.type == "cpu" else ""
    return (
        f"{SLOTS['model'].named(run)} on {session.data.train.card.name}: batches of {run.batch_size} at "
        f"{session.pixels} pixels, engine {SLOTS['engine'].named(run)}, selection "
        f"{SLOTS['selection'].named(run)}, {device} {session.precision}{threads}; "
        f"at {at:.0%} of the budget"
    )


def rows(measured: Measured) -> Iterator[tuple[str, float, bool]]:
    """Yield the table's rows: name, seconds per step, and whether it is a part of the row above."""
    for name, seconds in measured.stages.items():
        yield name, seconds, False
        if name == "augmentation" and len(measured.parts) > 1:
            for part, taken in measured.parts.items():
                yield part, taken, True


def table(measured: Measured) -> Table:
    """Return a profile as a table; rates are of trained images."""
    made = Table("stage", "ms per batch", "images/s alone", "share of a step")
    for column in made.columns[1:]:
        column.justify = "right"
    batch = measured.run.batch_size
    for name, seconds, of_augmentation in rows(measured):
        style = "dim" if of_augmentation else None
        label = f"  {name}" if of_augmentation else f"{name} (beside)" if name in measured.beside else name
        rate = f"{batch / seconds:,.0f}" if seconds > 0 and name != "rest" else ""
        made.add_row(label, f"{1e3 * seconds:,.3f}", rate, f"{measured.fraction(seconds):.1%}", style=style)
    made.add_section()
    made.add_row(
        "together", f"{1e3 * measured.step:,.3f}", f"{batch / measured.step:,.0f}", "100.0%", style="bold"
    )
    made.add_row(
        "  of it waiting for data",
        f"{1e3 * measured.wait:,.3f}",
        "",
        f"{measured.fraction(measured.wait):.1%}",
    )
    return made


def figures(measured: Measured) -> dict[str, Any]:
    """Return a profile as in the JSON file; times in milliseconds per step."""

    def row(name: str, seconds: float) -> dict[str, Any]:
        return {
            "stage": name,
            "milliseconds": 1e3 * seconds,
            "images_per_second": measured.run.batch_size / seconds if seconds > 0 else None,
            "share": measured.fraction(seconds),
            "beside": name in measured.beside,
        }

    return {
        "batch_size": measured.run.batch_size,
        "stages": [row(name, seconds) for name, seconds in measured.stages.items()],
        "augmentations": [row(name, seconds) for name, seconds in measured.parts.items()],
        "together": row("together", measured.step),
        "stall": measured.fraction(measured.wait),
        "bottleneck": measured.bottleneck,
        "sentence": sentence(measured),
    }
