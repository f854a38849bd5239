"""Plans: a run's account, how many samples its batches and orders hold, and how many orders its rounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from samplers import Plan
from samplers.oscillation import Oscillation
from samplers.protocol import has_whole_epochs
from trainer.account import Account, Ledger
from trainer.budget.costs import Costs
from trainer.budget.hours import MOST_ROUNDS, TimedAccount
from trainer.config import Run
from trainer.data import Data, digest
from trainer.errors import RunError
from trainer.parallel import World
from trainer.selection.hard_augment import HardAugment
from trainer.slots import SLOTS


def steps_of(run: Run, samples: int) -> int | None:
    """Return the number of steps of a run on a set; None where compute or hours bound it.

    Raises
    ------
    RunError
        When a budget that is counted in samples holds no batch.
    """
    if run.budget_hours is not None:
        return None
    total = round(run.epochs * samples * run.budget)
    if total < run.batch_size:
        budget = math.ceil(1e6 * run.batch_size / (run.epochs * samples)) / 1e6
        remedy = f"raise --budget, to {budget:g} say" if budget <= 1 else "raise --epochs"
        raise RunError(
            f"a budget must hold at least one batch of {run.batch_size:,}; {run.budget:g} of {run.epochs:g} "
            f"epochs of {samples:,} samples is {total:,}: {remedy}, or lower --batch-size"
        )
    return total // run.batch_size if run.counts == "trained" else None


def account_of(run: Run, data: Data, device: torch.device, world: World, costs: Costs) -> Account:
    """Return the account of a run's budget, in samples, compute or hours."""
    samples, ledger = len(data.train), Ledger(device)
    full = round(run.epochs * samples)
    if run.budget_hours is None:
        total = round(run.epochs * samples * run.budget)
        return Account(total, full, run.batch_size, run.counts, costs, ledger)
    return TimedAccount(
        total=3600 * run.budget_hours,
        full=full,
        batch_size=run.batch_size,
        costs=costs,
        ledger=ledger,
        counts="hours",
        clock=run.budget_clock,
        # A GPU is ahead of the clock, and ranks have clocks of their own, except where they meet anyway.
        interval=1 if device.type == "cpu" and world.size == 1 else run.log_every,
        most_samples=MOST_ROUNDS * round_size(run, data),
        device=device,
        world=world,
    )


def candidates_of(run: Run, data: Data, world: World) -> int:
    """Return the number of samples in a loader's batch: a training batch, or a selection's candidates.

    Raises
    ------
    RunError
        When the ranks can't share it, the set is smaller, or the selection doesn't fit the method.
    """
    part, name = run.selection, SLOTS["selection"].named(run)
    parts = world.size * run.accumulate
    if run.batch_size % parts:
        each = f" of {run.accumulate} micro-batches each" if run.accumulate > 1 else ""
        raise RunError(
            f"--batch-size must be a multiple of the {world.size} ranks{each}; got {run.batch_size}: take "
            f"{-(-run.batch_size // parts) * parts}"
        )
    count = -(-round(part.ratio * run.batch_size) // world.size) * world.size
    if count > len(data.train):
        options = " or --selection.bank", ", or raise --selection.keep", " or --selection.ratio"
        remedy = next(words for words in options if hasattr(part, words.rpartition(".")[2]))
        raise RunError(
            f"{name} loads {count:,} candidates per step, and this set has {len(data.train):,} samples: "
            f"lower --batch-size{remedy}"
        )
    if run.method.views > 1 and (part.ratio > 1 or part.scores) and not isinstance(part, HardAugment):
        raise RunError(
            f"{name} chooses among samples of one view, and method {SLOTS['method'].named(run)} takes "
            f"{run.method.views}: take --selection all"
        )
    if world.size > 1 and not part.exact:
        raise RunError(
            f"{name} keeps a number of samples that differs between ranks, and they must step together; got "
            f"{world.size} ranks: use selective_backprop_exact, foms or another selection, or one rank"
        )
    return count


def epochs_of(data: Data, account: Account) -> float:
    """Return the length of a run in epochs; infinite where hours bound it, as it is known at the end."""
    if isinstance(account, TimedAccount):
        return math.inf
    return (account.total - account.before) / len(data.train)


def plan_of(run: Run, data: Data, account: Account, candidates: int, full: int) -> Plan:
    """Return the plan of a run's orders: the budget's samples, or as many more as a selection loads."""
    if isinstance(account, TimedAccount):
        loaded: int | None = MOST_ROUNDS * max(candidates, round_size(run, data))
    else:
        loaded = _loaded(run, data, account, candidates, full)
    return Plan(
        samples=len(data.train),
        epochs=run.epochs,
        budget=run.budget,
        batch_size=candidates,
        seed=run.seed_of("order"),
        round_length=run.round_length,
        labels=data.train.labels if data.train.card.target == "class" else None,
        digest=None if run.accept_changed_data else digest(data.train),
        loaded=loaded,
        oscillation=run.oscillation,
        oscillation_rounds=run.oscillation_rounds,
    )


def _loaded(run: Run, data: Data, account: Account, candidates: int, full: int) -> int | None:
    """Return the samples in the orders of a budget that is counted; None if it is as many as are trained."""
    steps_of(run, len(data.train))
    if account.before > account.total - run.batch_size:
        raise RunError(
            f"a compute budget must leave a batch of {run.batch_size:,} after the charge for the "
            f"selection's model; that is {account.costs.charged:,} of {account.total:,} samples: raise "
            "--budget, or use a cheaper model"
        )

    def pixels_at(progress: float) -> int:
        return run.resolution.at(progress, full).pixels or full

    size, ratio = max(candidates, round_size(run, data)), candidates / run.batch_size
    if ratio > 1:
        # A round ends with the order that comes closest to its part of the budget: at most one more.
        size = math.ceil(size * (ratio * _spare(run.selection.exact) + 1))
    needed = candidates_needed(account, size, ratio, run.selection.exact, pixels_at)
    # Two extra candidate batches to absorb rounding.
    return needed + 2 * candidates if needed > account.total else None


def rounds_of(run: Run, data: Data, account: Account) -> int:
    """Return the number of rounds, each of at least one batch: T / ``round_length`` under any selection."""
    if isinstance(account, TimedAccount):
        return MOST_ROUNDS
    volumes = Oscillation(run.oscillation, run.oscillation_rounds)
    most = volumes.most_rounds(int(account.total), run.batch_size)
    return max(1, min(round(account.total / round_size(run, data)), most))


def round_size(run: Run, data: Data) -> int:
    """Return the number of samples that a round trains on; scan's rounds are epochs at any budget."""
    fraction = 1.0 if has_whole_epochs(run.sampler) else run.budget * run.round_length
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
