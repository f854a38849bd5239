"""Learning rate range test: which rates a recipe's network, method and optimizer can be trained at.

The rate rises exponentially from step to step, and after each step the loss on a fixed batch of held-out
images is measured (Kocyigit 2023, appendix A.3, after Smith and Topin 2017). Rates are useful from where that
loss begins to fall up to where it rises again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline import Batch
from pipeline.resolution import Stage, in_pixels
from samplers import Order
from trainer.build import build
from trainer.config import Run
from trainer.data import open_data
from trainer.errors import DivergedError, RunError
from trainer.hardware.device import choose_device
from trainer.hardware.precision import autocast
from trainer.inference.scorer import forgetful
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.schedules import RangeTest
from trainer.session import Session
from trainer.slots import SLOTS

SMOOTHING = 0.9
"""Weight of the past in the moving average of the loss."""
FALLEN, RISEN = 0.01, 0.1
"""Parts of the whole fall of the loss by which it must fall at first, and rise after its least."""
_PART = 256


@dataclass(frozen=True, slots=True)
class RangeOptions:
    """Options of a range test.

    Raises
    ------
    RunError
        When one is out of its range.
    """

    first: float = 1e-3
    """Learning rate of the first step."""

    last: float = 1.0
    """Learning rate of the last step."""

    steps: int = 200
    """Steps from the first rate to the last."""

    samples: int = 1024
    """Held-out images whose loss is measured after each step, as many as there are at most. The thesis has
    4,096."""

    def __post_init__(self) -> None:
        if not 0 < self.first < self.last < math.inf:
            raise RunError(
                f"first must be above 0 and below last, both learning rates; got {self.first:g} and "
                f"{self.last:g}"
            )
        if self.steps < 10:
            raise RunError(f"steps must be at least 10 to show a curve; got {self.steps}")
        if self.samples < 2:
            raise RunError(f"samples must be at least 2 images, for batch normalization; got {self.samples}")


@dataclass(frozen=True, slots=True, eq=False)
class RangeResult:
    """The losses of a range test, as far as they are finite.

    Attributes
    ----------
    rates, train, held_out
        float64[steps made]: learning rate, loss of the step's batch, and loss on the held-out images after
        it.
    lowest, highest
        Least and largest useful rate; None where the loss doesn't fall, and where it doesn't rise again.
    """

    rates: NDArray[np.float64]
    train: NDArray[np.float64]
    held_out: NDArray[np.float64]
    lowest: float | None
    highest: float | None

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The held-out loss as it was judged."""
        return smooth(self.held_out)


def range_test(
    run: Run,
    options: RangeOptions,
    scratch: Path,
    converting: Callable[[str, int, int], None],
    progress: Callable[[int, int], None],
) -> RangeResult:
    """Train for some steps with rising learning rates, and return the losses.

    The recipe's model, method, optimizer, augmentation, batch and data are used; samples are drawn uniformly,
    without selection, at full resolution.

    Parameters
    ----------
    scratch
        An empty folder.
    converting
        Called with (name, done, total) while a data set is converted on its first use.
    progress
        Called with (steps made, steps in all).

    Raises
    ------
    RunError, DataError, SamplingError
        When the run can't begin.
    """
    world = World()
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    data = open_data(run, world, converting)
    tested = _tested(run, options, len(data.train))
    folder = RunFolder(scratch, tested)
    with build(tested, folder, data, world, choose_device(run.device, world)) as session:
        session.ledger.start_clock()
        held_out = _held_out(session, options.samples)
        rates, train, losses = _losses(session, options, held_out, progress)
    if len(rates) < 2:
        raise RunError(
            f"a range test must begin at a rate that can be trained at; the loss is not finite after "
            f"{len(rates)} steps from {options.first:g}: give a lower --first"
        )
    return RangeResult(rates, train, losses, *useful(rates, losses))


def _tested(run: Run, options: RangeOptions, samples: int) -> Run:
    """Return the run of the test: its steps are the whole budget."""
    if "lr" not in {item.name for item in fields(run.optimizer)}:  # type: ignore[arg-type]
        raise RunError(
            f"a range test needs an optimizer with a learning rate; {SLOTS['optimizer'].named(run)} has none"
        )
    optimizer: Any = replace(run.optimizer, lr=options.last)  # type: ignore[type-var]
    pixels = getattr(run.resolution, "pixels", 1.0)
    return replace(
        run,
        epochs=(options.steps + 1) * run.batch_size / samples,
        budget=1.0,
        budget_hours=None,
        budget_clock="training",
        counts="trained",
        round_length=1.0,
        oscillation=0.0,
        oscillation_rounds=1,
        lead=0,
        service="inline",
        log_every=1,
        sampler=SLOTS["sampler"].make(),
        selection=SLOTS["selection"].make(),
        resolution=SLOTS["resolution"].table["constant"](pixels=pixels),
        schedule=RangeTest(first=options.first / options.last),
        optimizer=optimizer,
    )


def _held_out(session: Session, samples: int) -> list[Batch]:
    """Return the fixed batches whose loss is measured, drawn once."""
    count = min(samples, len(session.data.test))
    ids = np.linspace(0, len(session.data.test) - 1, count).astype(np.int64)
    views = session.selector.views if session.run.method.views > 1 else session.view.augmentation
    stage = Stage(in_pixels(session.run.evaluation_resolution, session.full))
    # Parts of nearly equal size, each of which has statistics to normalize by.
    parts = [Order(round=0, ids=part) for part in np.array_split(ids, -(-count // _PART))]
    return [
        batch for part in parts for batch in session.test_loader.batches(part, augment=views, stage=stage)
    ]


def _losses(
    session: Session, options: RangeOptions, held_out: Sequence[Batch], progress: Callable[[int, int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rows: list[tuple[float, float, float]] = []
    try:
        for current in session.rounds():
            for step in session.steps(current):
                rate = options.last * session.schedule.factor(min(1.0, len(rows) / options.steps))
                row = rate, float(step.losses.loss.mean()), _loss(session, held_out)
                if not all(map(math.isfinite, row)):
                    raise DivergedError("the loss is not finite")
                rows.append(row)
                progress(len(rows), options.steps + 1)
    except DivergedError:
        # The test has found what it looks for.
        pass
    table = np.array(rows, np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


@torch.no_grad()
def _loss(session: Session, batches: Sequence[Batch]) -> float:
    """Mean loss of the method on batches, in evaluation mode but for batch normalization.

    Running statistics are those of weights of many steps ago, at rates that change them from step to step:
    what is normalized in training is so here too, by the batch's own statistics.
    """
    method, total = session.method, 0.0
    norms = [module for module in method.modules() if isinstance(module, _BatchNorm) and module.training]
    method.eval()
    for norm in norms:
        norm.train()
    with forgetful(method):
        for batch in batches:
            with autocast(session.device, session.bf16):
                losses = method(batch)
            total += float(losses.loss.double().mean()) * len(batch)
    method.train()
    return total / sum(map(len, batches))


def smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the moving average of losses, corrected for its beginning at 0."""
    out, mean = np.empty_like(losses), 0.0
    for place, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss)
        out[place] = mean / (1 - SMOOTHING ** (place + 1))
    return out


def useful(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the lowest rate at which the smoothed loss falls, and the highest before it rises again.

    It falls where it is first below its start by 1% of its whole fall, and rises where after its least it is
    first above that by 10% of the fall. Losses that end early, since the next one is not finite, rise there.
    """
    smoothed = smooth(losses)
    least = int(smoothed.argmin())
    fall = smoothed[0] - smoothed[least]
    if fall <= 0:
        return None, None
    lowest = int((smoothed < smoothed[0] - FALLEN * fall).argmax())
    risen = np.flatnonzero(smoothed[least:] > smoothed[least] + RISEN * fall)
    highest = None if len(risen) == 0 else float(rates[least + int(risen[0]) - 1])
    return float(rates[lowest]), highest
