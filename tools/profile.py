"""``trainer profile``: where a step's time goes, what to change, measured, and a page about it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from tools.arguments import UsageError, asks_for_help
from tools.profiling import changes, trace
from tools.profiling.charts import quantity
from tools.profiling.comparing import Comparison
from tools.profiling.files import OUT, Place, Shown, is_profile
from tools.profiling.measuring import Profiled, measure, rows, setting
from tools.profiling.page import page
from tools.profiling.whole import session_at
from tools.progress import TerminalWatcher
from tools.recipe_line import read_run
from tools.reporting.wording import SPACE
from trainer import config
from trainer.data import Data, open_data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.run_folder import folder_name

DESCRIPTION = """Time every component of a training step alone and all of them together; name what the run is
bound by, try the settings most likely to help, and write a page about it.

Takes the command line of `trainer run`. Nothing is trained, and no run folder is created. `trainer profile
FILE.json` makes the page of a profile taken elsewhere, `trainer profile FOLDER FOLDER` compares two.
"""

PLACE = Path("profiles")
"""Where profiles are written by default, each in a folder of the run's name."""


@dataclass(frozen=True)
class Options:
    """Options of a profile, besides the run's own."""

    seconds: float = 20.0
    """Seconds to measure, excluding set-up; medians are reported."""

    at: float = 0.5
    """Point of the run, as a fraction of the budget, for schedules of resolution and selection."""

    tries: int = 3
    """Number of settings to try, those that help against the bound first; each takes a warm-up besides its
    part of the seconds. Compiling is tried from 60 seconds on."""

    out: Annotated[Path | None, tyro.conf.arg(metavar=OUT)] = None
    """Where the profile is written: a folder, for profile.html and profile.json in it, or a page FILE.html,
    with FILE.json beside it; by default a folder of the run's name in profiles/."""

    trace: bool = False
    """Also write trace.json, a trace of torch.profiler with the phases and the loader's batches named; open
    it in ui.perfetto.dev or chrome://tracing. Its size is printed: about a kilobyte per operation, 256 MiB at
    most."""

    trace_steps: int = 10
    """Steps of the trace."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise RunError(f"seconds must be above 0; got {self.seconds:g}")
        if not 0 <= self.at < 1:
            raise RunError(f"at must be at least 0 and below 1, a fraction of the budget; got {self.at:g}")
        if self.tries < 0:
            raise RunError(f"tries must be at least 0; got {self.tries}")
        if not 1 <= self.trace_steps <= trace.MOST_STEPS:
            raise RunError(
                f"trace_steps must be at least 1 and at most {trace.MOST_STEPS}; got {self.trace_steps}"
            )


@dataclass(frozen=True)
class Profile:
    """A run to be profiled."""

    run: config.Run
    options: Options

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Profile | Shown | Comparison:
        """Parse a command line: that of `trainer run` and the profile's own options, or profiles' paths.

        Raises
        ------
        UsageError
            If the words aren't options, or an option's value is of the wrong type.
        RunError
            If the recipe or a part is unknown, or a value is out of range.
        """
        paths = leading(words)
        if any(map(is_profile, paths)) and not asks_for_help(words):
            if len(paths) > 2:
                raise UsageError(
                    f"one profile is shown and two are compared; got {len(paths)}: {' '.join(paths)}"
                )
            return (Comparison if len(paths) == 2 else Shown).from_words(words, prog)
        return cls(*read_run(words, prog, DESCRIPTION, Options))

    def execute(self, console: Console) -> int:
        """Measure, print a table and a sentence, and write the page."""
        options = self.options
        place = Place.of(options.out or PLACE / folder_name(self.run))
        place.check()
        if self.run.threads is not None:
            torch.set_num_threads(self.run.threads)
        with TerminalWatcher(console) as watcher:
            data = open_data(self.run, World(), watcher.converting)
        with tempfile.TemporaryDirectory(prefix="trainer-profile-") as scratch:
            session = session_at(self.run, data, options.at, Path(scratch) / "run")
            try:
                taken = options.seconds * (0.65 if options.tries else 1.0)
                found = measure(session, options.at, taken)
                console.print(setting(session, options.at), highlight=False, soft_wrap=True)
                console.print(table(found))
                self._try(found, data, Path(scratch), console)
                refused = self._trace(found, place, console) if options.trace else None
                figures = found.table(self.run)
            finally:
                session.close()
        write(place, figures)
        console.print(figures["sentence"], highlight=False, markup=False, soft_wrap=not console.is_terminal)
        console.print(f"page: {place.page}", soft_wrap=True, highlight=False)
        if refused is not None:
            raise refused
        return 0

    def _trace(self, found: Profiled, place: Place, console: Console) -> RunError | None:
        """Write a trace; return why it would be too large, once all else is measured and worth its page."""
        steps = self.options.trace_steps
        try:
            size = trace.write(found.session, steps, found.work.operations, place.trace)
        except RunError as error:
            return error
        found.trace = {"file": place.trace.name, "bytes": size, "steps": steps}
        said = f"trace: {place.trace} ({quantity(size, 'B')}, {steps} steps)"
        console.print(said.replace(SPACE, " "), soft_wrap=True, highlight=False)
        return None

    def _try(self, found: Profiled, data: Data, scratch: Path, console: Console) -> None:
        """Try the most promising settings, and print what they are worth."""
        options, session = self.options, found.session
        candidates = changes.changes(found.measured, session, options.seconds)
        chosen = [change for change in candidates if change.takes is None][: options.tries]
        found.untried = changes.left_out(candidates, options.tries)
        for number, change in enumerate(chosen):
            seconds = 0.35 * options.seconds / len(chosen)
            place = scratch / f"change-{number}"
            tried = changes.tried(self.run, data, options.at, session, change, seconds, place)
            row = {**tried.table(), "batch_size": self.run.batch_size}
            found.tried.append(row)
            console.print(changes.told(row), highlight=False, soft_wrap=True)
        if found.untried:
            left = ", ".join(f"{row['option']} ({row['by']})" for row in found.untried)
            console.print(f"not tried: {left}", highlight=False, soft_wrap=True)


def leading(words: Sequence[str]) -> list[str]:
    """Return the words before the first option, --out left out of account.

    >>> leading(["--out", "x.html", "a", "b"]), leading(["cifar10", "--seed", "3"])
    (['a', 'b'], ['cifar10'])
    """
    rest, found = iter(words), []
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif word.startswith("-"):
            if not word.startswith("--out="):
                break
        else:
            found.append(word)
    return found


def write(place: Place, figures: dict[str, Any]) -> None:
    """Write a profile's figures and its page.

    Raises
    ------
    DataError
        When it can't be written to.
    """
    write_whole(place.figures, (dumps(figures) + "\n").encode())
    write_whole(place.page, page(figures).encode(errors="replace"))


def table(found: Profiled) -> Table:
    """Return a profile as a table; rates are of trained images."""
    measured = found.measured
    made = Table("stage", "ms per batch", "images/s alone", "fraction of a step")
    for column in made.columns[1:]:
        column.justify = "right"
    batch = measured.run.batch_size
    for name, seconds, of_augmentation in rows(measured):
        style = "dim" if of_augmentation else None
        label = f"  {name}" if of_augmentation else f"{name} (beside)" if name in measured.beside else name
        rate = f"{batch / seconds:,.0f}" if seconds > 0 and name != "rest" else ""
        made.add_row(label, f"{1e3 * seconds:,.3f}", rate, f"{measured.fraction(seconds):.1%}", style=style)
    # What closes the sum; the waiting is part of it where the loader works beside the training.
    made.add_row(
        "together less alone", f"{1e3 * measured.gap:,.3f}", "", f"{measured.fraction(measured.gap):.1%}"
    )
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
