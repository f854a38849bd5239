"""Plans: how many samples a run's orders hold, and in how many rounds."""

from __future__ import annotations

import math
from collections.abc import Callable

from samplers import Plan
from samplers.scan import Scan
from trainer.account import Account
from trainer.config import Run
from trainer.data import Data, digest
from trainer.errors import RunError


def plan_of(run: Run, data: Data, account: Account, candidates: int, full: int) -> Plan:
    """What orders are drawn by: the budget's samples, or as many more as a selection loads."""
    if account.total < run.batch_size:
        raise RunError(
            f"a budget must hold at least one batch of {run.batch_size:,}; {run.budget:g} of {run.epochs:g} "
            f"epochs of {len(data.train):,} samples is {account.total:,}"
        )

    if account.before > account.total - run.batch_size:
        raise RunError(
            f"a compute budget must leave a batch of {run.batch_size:,} beside what is charged for the "
            f"selection's model; that is {account.charged:,} of {account.total:,} samples: raise --budget, "
            "or take a cheaper model"
        )

    def pixels_at(progress: float) -> int:
        return run.resolution.at(progress, full).pixels or full

    round_size, ratio = max(candidates, _round_size(run, data)), candidates / run.batch_size
    if ratio > 1:
        # A round ends with the order that comes nearest to its share of the budget, so within one more.
        round_size = math.ceil(round_size * (ratio * _spare(run.selection.exact) + 1))
    needed = candidates_needed(account, round_size, ratio, run.selection.exact, pixels_at)
    return Plan(
        samples=len(data.train),
        epochs=run.epochs,
        budget=run.budget,
        batch_size=candidates,
        seed=run.seed if run.order_seed is None else run.order_seed,
        round_length=run.round_length,
        labels=data.train.labels,
        digest=None if run.accept_changed_data else digest(data.train),
        # A batch of candidates to spare, for what rounding takes away.
        loaded=needed + 2 * candidates if needed > account.total else None,
    )


def rounds_of(run: Run, data: Data, account: Account) -> int:
    """Return the rounds of a run, each of a batch at least: T / ``round_length``, whatever selects."""
    return max(1, min(round(account.total / _round_size(run, data)), account.total // run.batch_size))


def _round_size(run: Run, data: Data) -> int:
    """Return the samples that a round trains on; scan's rounds are epochs, whatever the budget."""
    share = 1.0 if isinstance(run.sampler, Scan) else run.budget * run.round_length
    return max(1, round(len(data.train) * share))


def _spare(exact: bool) -> float:
    """Return how many times its expected candidates a selection may need: more where it keeps by chance."""
    return 1.0 if exact else 2.0


def candidates_needed(
    account: Account, round_size: int, ratio: float, exact: bool, pixels_at: Callable[[float], int]
) -> int:
    """Most samples that orders may have to hold until a budget is spent.

    Where selecting costs nothing, every trained sample takes ``ratio`` of them; a selection that keeps by
    chance may need more. A round keeps the resolution that it begins with.

    Parameters
    ----------
    round_size
        Samples that a round loads.
    """
    spare = _spare(exact)
    spent, needed = 0.0, 0
    while spent < account.total:
        price = account.step_cost(pixels_at(spent / account.total)) / account.batch_size
        left = math.ceil((account.total - spent) / price * ratio * spare)
        taken = min(round_size, left)
        needed += taken
        spent += taken / (ratio * spare) * price
    return needed
