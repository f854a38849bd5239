"""``trainer run``: one timed training run under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from tools.progress import TerminalWatcher, summary
from tools.recipe_line import read_run
from tools.report import write_report
from trainer import config
from trainer.loop import train
from trainer.parallel import World, join, leave
from trainer.record import RunFolder, folder_name

DESCRIPTION = """Train under a budget, timed, and write a report.

A recipe is a name (see `trainer list recipes`) or the path of a .toml, such as an earlier run's run.toml.
Options override it. A part's own options follow its slot's name, as in `--sampler p_sgd
--sampler.warmup-rounds 10`; name the parts you want before --help, and it shows their options.

A run that was stopped goes on with the same command, and a run that is finished is not run again.
"""


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
        run, _ = read_run(words, prog, DESCRIPTION)
        return cls(run)

    def execute(self, console: Console) -> int:
        """Train, write the report, and print what it cost and what it bought."""
        world = join(self.run.device)
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
                f"This run is finished; its folder is {folder.path}. Give another --name to run it again.",
                soft_wrap=True,
            )
        else:
            with TerminalWatcher(console) as watcher:
                train(self.run, folder, world, watcher).close()
        if world.leads:
            report = write_report([folder.path], folder.path / "report.html")
            console.print(summary(folder))
            console.print(f"report: {report}", soft_wrap=True)
        return 0
