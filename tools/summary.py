"""Cost and result of a run, as a table on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from tools.reporting.folder import read_run
from tools.reporting.metrics import exact
from tools.reporting.verdict import pass_cost
from tools.reporting.wording import NONE, budget, count, duration, flops, hours, percent


def summary(folder: Path) -> Table:
    """Return a table of a run's cost, by both ways of counting, and its result."""
    run = read_run(folder)
    trained, full, scored = run.number("trained"), run.number("full_budget_samples"), run.number("scored")
    counted, limit = "compute" if run.counts == "compute" else "samples trained", run.number("budget_hours")
    fraction = f"{budget(run.number('budget'))} of {counted}"
    table = Table("", "", show_header=False)
    table.columns[1].justify = "right"
    table.add_row(f"{run.metric.label}, last round", exact(run.metric, run.result))
    for metric in run.metrics[1:]:
        if metric.collapsed_below is not None:
            value = run.measured.last(metric.name)
            state = "" if run.collapsed is None else ", collapsed"
            table.add_row(metric.label, f"{exact(metric, value)}{state}")
    if run.evaluated:
        table.add_row("evaluated", run.evaluated.removeprefix(" of "))
    table.add_row("budget", fraction if limit is None else hours(limit))
    table.add_row(
        "samples trained", f"{count(trained)} of {count(full)}, {percent(run.fraction_of_full(trained))}"
    )
    table.add_row("compute", f"{percent(run.fraction_of_full(run.compute))} of a full training")
    if scored:
        table.add_row("scoring", f"{percent(run.scoring_fraction)} of that, {count(scored)} samples")
        table.add_row("a scoring pass", pass_cost(run))
    table.add_row("FLOPs", flops(run.number("flops")))
    table.add_row("training time", duration(run.number("train_seconds")))
    price = run.number("price")
    if price is not None:
        table.add_row("price", f"{price:,.2f}")
    table.add_row("rate", f"{count(run.rate)} images/s")
    table.add_row("stall", percent(run.number("stall"), 2))
    table.add_row("weights", str(run.ledger.get("weights", NONE))[:12])
    return table
