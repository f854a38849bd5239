"""Linear evaluation from the command line: trained and reported as a run of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tools.run import Run
from tools.streams import say
from trainer.inference.trained import read_recipe
from trainer.linear import LinearOptions, linear_run
from trainer.run_folder import RunFolder


def evaluate_linearly(
    folder: Path,
    options: LinearOptions,
    console: Console,
    *,
    best: bool,
    device: str,
    data_dir: Path | None,
) -> int:
    """Train a linear classifier on a run's frozen features, and print what it reaches on the test set.

    In the folder ``linear`` of the run's own, with a report. Stopped, it goes on with the same command.

    Raises
    ------
    RunError, DataError
        As `linear_run`.
    """
    run = linear_run(folder, options, best=best)
    if not RunFolder(folder, read_recipe(folder)).finished:
        say(f"note: {folder} is not finished: its features are those of its last checkpoint")
    if device != "auto":
        run = replace(run, device=device)
    if data_dir is not None:
        run = replace(run, data_dir=data_dir)
    return Run(run).execute(console)
