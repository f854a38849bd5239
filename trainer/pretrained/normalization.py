"""Mean and standard deviation that a run's images are normalized by."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.formats.card import Card
from trainer.config import Run
from trainer.errors import RunError
from trainer.models import Published


def normalization(run: Run, card: Card) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation per channel that a run's images are normalized by.

    Those of --mean and --std; else those that the published weights of a library's network were trained with,
    where the run begins from weights; else the training set's.

    Raises
    ------
    RunError
        When --mean or --std have other than one value per channel.
    """
    mean, std = card.mean, card.std
    if isinstance(run.model, Published) and (run.model.pretrained or run.init_from is not None):
        published = run.model.normalization()
        if published is not None:
            mean, std = (per_channel(values, card.channels) for values in published)
    for name, values in (("mean", run.mean), ("std", run.std)):
        if values is not None and len(values) != card.channels:
            raise RunError(
                f"{name} must hold one value per channel; got {len(values)}, and this run's images have "
                f"{card.channels}, of mode {card.mode}: leave --{name} out to normalize by the data set's"
            )
    return run.mean or mean, run.std or std


def per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return published values for gray images where they are so: the mean over the colors'."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels
