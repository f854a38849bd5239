"""Notes on settings of a run that look wrong but may be intended, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.augment.multi import Multi
from pipeline.resolution import SuperProgressive
from trainer.config import Run
from trainer.methods.moco import MoCo
from trainer.schedules import FixedOneCycle


def notes(run: Run, full: int, samples: int | None = None) -> tuple[str, ...]:
    """Return a line for everything about a run that is unlikely to be meant.

    Parameters
    ----------
    full
        Pixels of the shorter side at full resolution.
    samples
        Size of the training set, if it is known.
    """
    return (*_warm_ups(run, full), *_copies(run), *_queues(run, samples))


def _queues(run: Run, samples: int | None) -> Iterator[str]:
    """A queue longer than the set holds keys of the very image that they are negatives of."""
    if isinstance(run.method, MoCo) and samples is not None and run.method.queue > samples:
        yield (
            f"the queue holds {run.method.queue:,} keys of a set of {samples:,} images, so that an image is "
            f"among its own negatives: --method.queue {max(1, samples // 2)} or less keeps them apart"
        )


def _copies(run: Run) -> Iterator[str]:
    """Copy k of a sample gets the k-th augmentation of multi: with fewer copies some come to nobody."""
    for part in run.augment:
        if isinstance(part, Multi) and 1 < run.multiply < len(part.parts):
            used = ", ".join(part.parts[: run.multiply])
            yield (
                f"the {run.multiply} copies of a sample get the first {run.multiply} of multi's "
                f"{len(part.parts)} augmentations, {used}: --multiply {len(part.parts)} uses all of them, "
                "--augment.multi.parts names others"
            )


def _warm_ups(run: Run, full: int) -> Iterator[str]:
    """Super-progressive resolution is full while the learning rate warms up: both should end in one round."""
    if not isinstance(run.resolution, SuperProgressive) or not isinstance(run.schedule, FixedOneCycle):
        return
    length = run.epochs * run.budget
    rate, pixels = run.schedule.warmup / length, run.resolution.warmup_fraction(full)
    if abs(rate - pixels) * length > run.budget * run.round_length * (1 + 1e-9):
        yield (
            f"images are at full resolution for {pixels:.1%} of the budget and the learning rate warms up "
            f"for {rate:.1%} of it: --schedule.warmup {pixels * length:.4g} or --resolution.warmup "
            f"{rate:.4g} makes them one"
        )
