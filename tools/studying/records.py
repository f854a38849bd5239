"""Where a study's figures come from: its runs with their commands, its choices, and the machines."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from tools.reporting import metrics, wording
from tools.reporting.matching import MACHINE
from tools.reporting.wording import NONE, count
from tools.studying.cells import Cell
from tools.studying.definition import Study
from tools.studying.outcome import Outcome, machine
from tools.studying.overlay import flat
from tools.studying.selecting import Choice
from tools.studying.sheets import Figure, Sheet, words
from trainer.settings import comparison

VERSIONS = ("budgetrain", "python", "torch", "numpy", "numba", "platform")


def runs(outcome: Outcome) -> Sheet:
    """Return the table of all runs, each with what distinguishes it and what it left."""
    rows = []
    for result in outcome.arms:
        for seed, cell in sorted(result.cells.items()):
            run = result.runs.get(seed)
            state = "finished" if run else "diverged" if seed in result.diverged else "to come"
            value = None if run is None else run.result
            seconds = None if run is None else run.number("train_seconds")
            trained = None if run is None else run.number("trained")
            rows.append(
                (
                    words(cell.name),
                    words(overrides(cell, outcome.study)),
                    words(comparison.digest(cell.run)[:12]),
                    words(state),
                    Figure(metrics.cell(outcome.metric, value), value),
                    Figure(count(trained), trained),
                    Figure(wording.duration(seconds), seconds),
                    words(str(run.ledger.get("weights", NONE))[:12] if run else NONE),
                )
            )
    return Sheet(
        "runs",
        f"All runs: {shared(outcome.study)}, and the overrides of each, later ones over earlier ones.",
        (
            *("run", "overrides", "digest of the settings", "state"),
            metrics.column(outcome.metric),
            *("samples trained", "training time", "digest of the weights"),
        ),
        tuple(rows),
        4,
    )


def overrides(cell: Cell, study: Study) -> str:
    """Return a cell's overrides in words, but those that all cells of the study have."""
    own = (one for one in cell.settings if one is not study.settings)
    return "; ".join(said for one in own for said in flat(one))


def shared(study: Study) -> str:
    """Return what all cells of a study begin with, in words."""
    common = "; ".join(flat(study.settings))
    return f"the recipe {study.recipe}" + (f" with {common}" if common else "")


def command(outcome: Outcome, cells: Sequence[Cell] = ()) -> str:
    """Return the command that repeats some cells, or the whole study, in a folder of their own."""
    only = ["--only", *(cell.name for cell in cells)] if cells else []
    return shlex.join(["trainer", "study", outcome.study.typed, *only, "--runs-dir", "again"])


def choices(outcome: Outcome, made: Mapping[str, Choice]) -> Sheet:
    """Return the table of choices: a trial per row."""
    rows = []
    for choice in made.values():
        for number, trial in enumerate(choice.trials):
            value = trial.result
            rows.append(
                (
                    words(choice.key),
                    words("; ".join(flat(trial.settings))),
                    Figure(metrics.cell(outcome.metric, value), value, bold=number == choice.best)
                    if value is not None
                    else words("diverged"),
                    words("chosen" if number == choice.best else NONE),
                )
            )
    choose = outcome.study.choose
    caption = ""
    if choose is not None:
        caption = (
            f"Choices by the last round's {outcome.metric.label} on held-out training samples, "
            f"{choose.trials} trials each with seed {choose.seed}; the test set is used by none of them."
        )
    head = ("choice", "settings", f"{metrics.column(outcome.metric)}, validation", "")
    return Sheet("choices", caption, head, tuple(rows), 2)


def machines(outcome: Outcome) -> Sheet:
    """Return the table of the machines and versions that runs were made with."""
    keys = (*MACHINE, *VERSIONS)
    found: dict[tuple[str, ...], int] = {}
    for run in outcome.runs:
        facts = (*machine(run), *(str(run.environment.get(key)) for key in VERSIONS))
        found[facts] = found.get(facts, 0) + 1
    rows = [
        (
            words(key),
            *(words(NONE if facts[index] == "None" else facts[index]) for facts in found),
        )
        for index, key in enumerate(keys)
    ]
    head = ("", *(f"{number} runs" if number > 1 else "1 run" for number in found.values()))
    return Sheet("machines", "Machines and versions.", head, tuple(rows) if found else (), len(head))
