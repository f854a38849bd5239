"""Accounts of runs: counted passes, their cost, and the part that the budget counts."""

from __future__ import annotations

from collections.abc import Callable

from tools.reporting.lineup import Lineup
from tools.reporting.markup import Safe, table
from tools.reporting.record import RunRecord
from tools.reporting.wording import NONE, count, flops, percent

Say = Callable[[RunRecord], str]


def accounts(lineup: Lineup) -> Safe:
    """Return the table of counted passes, and their cost by both ways of counting."""
    runs = [entry.run for entry in lineup]
    rows: list[tuple[str, Say]] = [
        ("Trained, forward and backward", _count("trained")),
        (
            "\N{EN SPACE}of the full training's",
            lambda run: percent(run.fraction_of_full(run.number("trained"))),
        ),
        ("Scored, forward only", _count("scored")),
        ("\N{EN SPACE}cost of one, in training steps", _score_cost),
        ("Compute, in full training steps", lambda run: count(run.compute)),
        ("\N{EN SPACE}of the full training's", lambda run: percent(run.fraction_of_full(run.compute))),
        ("\N{EN SPACE}of it scoring", lambda run: percent(run.scoring_fraction)),
        (
            "The budget counts",
            lambda run: {"trained": "samples trained", "compute": "compute", "hours": "hours"}.get(
                run.counts, NONE
            ),
        ),
        ("\N{EN SPACE}spent of it", _spent),
    ]
    if any(run.number("forwarded") for run in runs):
        rows.insert(4, ("Of further streams, forwarded by steps", _count("forwarded")))
    if any(run.number("charged") for run in runs):
        rows.append(("Trained before the run, charged", _count("charged")))
    rows += [
        ("FLOPs, one image forward", lambda run: flops(run.number("forward_flops"))),
        ("FLOPs, whole run", lambda run: flops(run.number("flops"))),
        ("Evaluated", _count("evaluated")),
        ("Optimizer steps", _count("steps")),
        ("Rounds", _count("rounds")),
    ]
    if any(run.number("price") is not None for run in runs):
        rows.append(("Price, evaluation and set-up included", _price))
    if any(run.ledger.get("weights") for run in runs):
        rows.append(("Digest of the last weights", lambda run: str(run.ledger.get("weights") or NONE)[:12]))
    head = ["", *([entry.label for entry in lineup] if lineup.several else [""])]
    return table(
        head, [[name, *(say(run) for run in runs)] for name, say in rows], "Passes, and what they come to"
    )


def _count(key: str) -> Say:
    return lambda run: count(run.number(key))


def _price(run: RunRecord) -> str:
    price, rate = run.number("price"), run.number("price_per_hour")
    return NONE if price is None or rate is None else f"{price:,.2f}, at {rate:g} per hour"


def _score_cost(run: RunRecord) -> str:
    cost, basis = run.score_cost
    if basis == "measured":
        return f"{cost:.2f}"
    return f"{cost:.2f}, {basis}" if run.number("scored") else NONE


def _spent(run: RunRecord) -> str:
    spent, planned = run.number("spent"), run.number("planned")
    if spent is None:
        spent = run.number("trained") if run.counts == "trained" else None
    return percent(spent / planned) if spent is not None and planned else NONE
