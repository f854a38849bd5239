"""``trainer tune``: finds the fastest of the settings that don't change what a run learns."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.table import Table

from pipeline.formats.whole import write_whole
from tools.outputs import check_output
from tools.profiling.intervals import Ratio
from tools.progress import TerminalWatcher
from tools.recipe_line import read_run
from tools.tuning.halving import COMPILED_FROM, Entry, halve
from tools.tuning.space import settings_of, space, toml
from trainer import config
from trainer.data import open_data
from trainer.errors import RunError
from trainer.parallel import World

DESCRIPTION = """Find the fastest of the settings that don't change what a run learns: engine, its threads,
threads, prefetch, service, memory format, micro-batches and compilation.

Takes the command line of `trainer run`. Settings compete in rounds of real training steps, in turns; after
each round the slower half drops out and the others run twice as long. The winner is written as a TOML that
`trainer run RECIPE --with FILE` takes. Nothing is trained.
"""


@dataclass(frozen=True)
class Options:
    """Options of the search, besides the run's own."""

    seconds: float = 120.0
    """Seconds for all of the search, set-up and compilation included, as far as steps allow. Compiled
    settings are tried from 120 seconds on: building one takes half of that by itself, and can't be cut
    short."""

    at: float = 0.5
    """Point of the run, as a fraction of the budget, for schedules of resolution and selection."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("tuned.toml")
    """File to write the settings to."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise RunError(f"seconds must be above 0; got {self.seconds:g}")
        if not 0 <= self.at < 1:
            raise RunError(f"at must be at least 0 and below 1, a fraction of the budget; got {self.at:g}")


@dataclass(frozen=True)
class Tune:
    """A run to be tuned."""

    run: config.Run
    options: Options

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Tune:
        """Parse a command line: that of `trainer run`, and the search's own options.

        Raises
        ------
        UsageError
            If the words aren't options, or an option's value is of the wrong type.
        RunError
            If the recipe or a part is unknown, or a value is out of range.
        """
        return cls(*read_run(words, prog, DESCRIPTION, Options))

    def execute(self, console: Console) -> int:
        """Search, print the table, and write the settings."""
        options = self.options
        check_output("--out", options.out, "tuned.toml", mark=b"# Written by trainer tune")
        threads = torch.get_num_threads()
        if self.run.threads is not None:
            torch.set_num_threads(self.run.threads)
        with TerminalWatcher(console) as watcher:
            data = open_data(self.run, World(), watcher.converting)
        try:
            with tempfile.TemporaryDirectory(prefix="trainer-tune-") as scratch:
                candidates = space(self.run, data.train)
                entries = halve(candidates, data, options.at, options.seconds, Path(scratch))
        finally:
            torch.set_num_threads(threads)
        console.print(table(entries))
        first = next(entry for entry in entries if not entry.candidate.changed)
        best, gain = fastest(entries, first)
        write_whole(options.out, toml(best.candidate, gain).encode())
        console.print(finding(entries, first, options.seconds), highlight=False, soft_wrap=True)
        console.print(f"settings: {options.out}", highlight=False, soft_wrap=True)
        return 0


def fastest(entries: Sequence[Entry], first: Entry) -> tuple[Entry, float]:
    """Return the fastest entry that is faster by more than the spread, and how many times.

    Else the run as it is, ``first``: a change that is none isn't worth another name of the run folder.
    """
    for entry in entries[: entries.index(first)]:
        found = entry.against(first)
        if found.significant and found.speedup > 1:
            return entry, found.speedup
    return first, 1.0


def finding(entries: Sequence[Entry], first: Entry, seconds: float) -> str:
    """Return the settings to take, and why not those that stand above them in the table."""
    best, gain = fastest(entries, first)
    taken = sum(bool(entry.windows) for entry in entries)
    alone = f", of {taken} tried" if taken > 1 else ", as no others were tried"
    words = " ".join(settings_of(best.candidate)) or f"the settings as they are{alone}"
    said = [f"fastest, {gain:.2f} times as fast as now: {words}"]
    above, longer = entries[0], 2 * seconds
    if above is not best:
        said.append(f"{' '.join(settings_of(above.candidate))} isn't taken: {_unsure(above.against(first))}")
    untried = [entry for entry in entries if not entry.windows and entry.refused is None]
    if untried:
        many = len(untried) > 1
        said.append(f"{len(untried)} setting{'s were' if many else ' was'} not tried for lack of time")
    compiled = [entry for entry in entries if entry.candidate.changed.get("compile")]
    took = max((entry.opening for entry in compiled), default=0.0)
    if took:
        said.append(f"compiling took {took:.0f} s, which can't be cut short")
    elif any(entry.refused is None for entry in compiled):
        longer = max(longer, COMPILED_FROM)
        said.append(
            f"compiling takes about a minute by itself, so it is tried from --seconds {COMPILED_FROM:g} on"
        )
    if len(said) > 1:
        said.append(f"--seconds {longer:g} measures longer")
    return "; ".join(said)


def _unsure(found: Ratio) -> str:
    if found.unmeasured is not None:
        return f"{found.speedup:.2f} times as fast, but {found.text}"
    return f"{found.speedup:.2f} times as fast, which isn't significant (95% interval {found.text})"


def table(entries: Sequence[Entry]) -> Table:
    """Return what was tried, the fastest first."""
    made = Table("settings", "images/s", "rounds", "note")
    for column in made.columns[1:3]:
        column.justify = "right"
    for entry in entries:
        words = " ".join(settings_of(entry.candidate)) or "(as they are)"
        rate = f"{1 / entry.seconds_per_image:,.0f}" if entry.windows else ""
        made.add_row(words, rate, str(entry.rounds), _note(entry))
    return made


def _note(entry: Entry) -> str:
    if entry.refused is not None:
        return entry.refused
    if not entry.windows:
        return "not tried: time was up"
    return f"compiled in {entry.opening:.0f} s" if entry.candidate.changed.get("compile") else ""
