"""Plans: the number of samples in a run's orders, and of rounds."""

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
    """Return the plan of a run's orders: the budget's samples, or as many more as a selection loads."""
    if account.total < run.batch_size:
        raise RunError(
            f"a budget must hold at least one batch of {run.batch_size:,}; {run.budget:g} of {run.epochs:g} "
            f"epochs of {len(data.train):,} samples is {account.total:,}"
        )

    if account.before > account.total - run.batch_size:
        raise RunError(
            f"a compute budget must leave a batch of {run.batch_size:,} after the charge for the "
            f"selection's model; that is {account.charged:,} of {account.total:,} samples: raise --budget, "
            "or use a cheaper model"
        )

    def pixels_at(progress: float) -> int:
        return run.resolution.at(progress, full).pixels or full

    round_size, ratio = max(candidates, _round_size(run, data)), candidates / run.batch_size
    if ratio > 1:
        # A round ends with the order that comes closest to its part of the budget: at most one more.
        round_size = math.ceil(round_size * (ratio * _spare(run.selection.exact) + 1))
    needed = candidates_needed(account, round_size, ratio, run.selection.exact, pixels_at)
    return Plan(
        samples=len(data.train),
        epochs=run.epochs,
        budget=run.budget,
        batch_size=candidates,
        seed=run.seed if run.order_seed is None else run.order_seed,
        round_length=run.round_length,
        labels=data.train.labels if data.train.card.target == "class" else None,
        digest=None if run.accept_changed_data else digest(data.train),
        # Two extra candidate batches to absorb rounding.
        loaded=needed + 2 * candidates if needed > account.total else None,
    )


def rounds_of(run: Run, data: Data, account: Account) -> int:
    """Return the number of rounds, each of at least one batch: T / ``round_length`` under any selection."""
    return max(1, min(round(account.total / _round_size(run, data)), account.total // run.batch_size))


def _round_size(run: Run, data: Data) -> int:
    """Return the number of samples that a round trains on; scan's rounds are epochs at any budget."""
    fraction = 1.0 if isinstance(run.sampler, Scan) else run.budget * run.round_length
    return max(1, round(len(data.train) * fraction))


def _spare(exact: bool) -> float:
    """Return a bound on candidates needed relative to their expectation: above 1 if selection is random."""
    return 1.0 if exact else 2.0


def candidates_needed(
    account: Account, round_size: int, ratio: float, exact: bool, pixels_at: Callable[[float], int]
) -> int:
    """Return an upper bound on the samples in orders until a budget is spent.

    If selecting costs nothing, every trained sample takes ``ratio`` candidates; a selection that keeps
    samples at random may need more. A round keeps the resolution at which it begins.

    Parameters
    ----------
    round_size
        Number of samples that a round loads.
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
