"""``trainer run``: one timed training run under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from pipeline import DataError
from pipeline.errors import UnwritableError
from pipeline.formats import open_dataset
from pipeline.formats.whole import write_whole
from tools.profiling.files import FILE, PAGE, read_profile
from tools.profiling.page import page
from tools.progress import TerminalWatcher
from tools.recipe_line import read_line
from tools.report import write_report
from tools.streams import say
from tools.summary import summary
from tools.without_recipe import recipe_text
from trainer import config, inputs
from trainer.automatic.choices import Choice
from trainer.data import Data, paths, stream_path
from trainer.loop import train
from trainer.parallel import World, join, leave
from trainer.peers import telling_peers
from trainer.recording import Recording
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

DESCRIPTION = """Train under a budget, timed, and write a report.

A recipe is a name (see `trainer list recipes`) or the path of a .toml, such as an earlier run's run.toml.
In its place you can name images: a folder CLASS/IMAGE, an archive (.zip, .tar, .npz, .parquet), a .csv of
classes, labels or values, or a converted set. They are converted on first use, and a recipe is chosen for
them and this machine, with a line for each choice; RUN/recipe.toml keeps it, to be edited and run.

Options override the recipe. A part's own options follow its slot's name, as in `--sampler p_sgd
--sampler.warmup-rounds 10`; name parts before --help to see their options.

A stopped run resumes with the same command, and a finished run is not run again.
"""


class Watcher(TerminalWatcher):
    """Shows a run's progress, and keeps the recipe that was chosen for it in its folder."""

    def __init__(self, console: Console, choices: Sequence[Choice]) -> None:
        super().__init__(console)
        self._choices = choices

    def started(self, session: Session, resumed: bool) -> None:
        """Write the recipe, and print the run that is about to be trained."""
        path = session.folder.path / "recipe.toml"
        if self._choices and session.world.leads and not path.exists():
            write_whole(path, recipe_text(session.run, self._choices, path).encode())
            self._console.print(f"recipe: {path}, to be edited and run", soft_wrap=True, highlight=False)
        super().started(session, resumed)


@dataclass(frozen=True)
class Options:
    """Options of the command, besides the run's own."""

    profile_steps: Annotated[str | None, tyro.conf.arg(metavar="FIRST:LAST")] = None
    """Steps to record, as 200:260, for profile.html in the run folder; the report links to it."""


@dataclass(frozen=True)
class Run:
    """The `run` command."""

    run: config.Run
    recording: Recording | None = None
    choices: tuple[Choice, ...] = ()

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Run:
        """Parse a command line: a recipe or images first, then the options that override it.

        Raises
        ------
        UsageError
            If the words aren't options, or an option's value is of the wrong type.
        RunError
            If the recipe or a part is unknown, or a value is out of range.
        """
        line = read_line(words, prog, DESCRIPTION, Options)
        steps = line.more.profile_steps
        return cls(line.run, None if steps is None else Recording.parse(steps), line.choices)

    def execute(self, console: Console) -> int:
        """Train, write the report, and print a summary of cost and results."""
        world = join(self.run.device)
        try:
            with telling_peers(world):
                return self._execute(console, world)
        finally:
            leave()

    def _execute(self, console: Console, world: World) -> int:
        console = console if world.leads else Console(quiet=True)
        folder = RunFolder(self.run.runs_dir / folder_name(self.run), self.run)
        if folder.finished:
            self._compare(folder)
            console.print(
                f"This run is finished; its folder is {folder.path}. Give another --name to run it again.",
                soft_wrap=True,
            )
        else:
            with Watcher(console, self.choices) as watcher:
                train(self.run, folder, world, watcher, self.recording).close()
        if world.leads:
            console.print(summary(folder.path))
            if self.recording is not None:
                self._profile(folder, console)
            self._report(folder, console)
        return 0

    def _compare(self, folder: RunFolder) -> None:
        """Print a note if a finished run's data has changed; missing data isn't compared."""
        before = folder.environment.get("data_sha256")
        if not isinstance(before, dict):
            return
        try:
            train_path, test_path = paths(self.run)
            streams = {one.name: open_dataset(stream_path(self.run, one)) for one in self.run.streams}
            data = Data(open_dataset(train_path), open_dataset(test_path), streams=streams)
            now = inputs.digests(self.run, data)
        except DataError as error:
            say(f"note: whether the data is still what this run was trained on isn't known: {error}")
            return
        changed = inputs.check(self.run, before, now, folder.path)
        if changed is not None:
            say(f"note: this run was trained on other data: {changed}")

    @staticmethod
    def _profile(folder: RunFolder, console: Console) -> None:
        """Write the page of the steps that were recorded, in this or an earlier session."""
        if not (folder.path / FILE).exists():
            say("note: no step was recorded: the run had passed them already")
            return
        figures = read_profile(folder.path)
        write_whole(folder.path / PAGE, page(figures).encode(errors="replace"))
        console.print(figures["sentence"], soft_wrap=True, highlight=False)
        console.print(f"profile: {folder.path / PAGE}", soft_wrap=True, highlight=False)

    @staticmethod
    def _report(folder: RunFolder, console: Console) -> None:
        page = folder.path / "report.html"
        try:
            console.print(f"report: {write_report([folder.path], page)}", soft_wrap=True, highlight=False)
        except UnwritableError as error:
            # On a read-only disk the page may exist from before.
            there = f"; that of an earlier time is there: {page}" if page.exists() else ""
            say(f"note: {error}: `trainer report {folder.path} --out FILE` writes the page elsewhere{there}")
