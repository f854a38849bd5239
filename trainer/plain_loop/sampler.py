"""The sampler of a plain loop: by name or config, and whether the loop can serve it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplers import SAMPLERS, LabelReading, SamplerConfig, ScoringConfig
from trainer.errors import RunError


def config_of(sampler: str | SamplerConfig) -> SamplerConfig:
    """Return a sampler's config.

    Raises
    ------
    RunError
        If no sampler has the name.
    """
    if not isinstance(sampler, str):
        return sampler
    if sampler not in SAMPLERS:
        raise RunError(f"sampler must be one of {', '.join(SAMPLERS)}; got {sampler!r}: choose one of these")
    return SAMPLERS[sampler]()


def name_of(part: SamplerConfig) -> str:
    """Return a config's name in `SAMPLERS`, or that of its class."""
    return next((name for name, cls in SAMPLERS.items() if cls is type(part)), type(part).__name__)


def check_sampler(part: SamplerConfig, *, has_labels: bool, has_optimizer: bool) -> None:
    """Refuse samplers that need what a plain loop doesn't have.

    Raises
    ------
    RunError
        With the remedy.
    """
    if "gradient" in part.needs or (isinstance(part, ScoringConfig) and part.asks == "gradient"):
        raise RunError(
            f"{name_of(part)} needs each sample's gradient, which a plain loop doesn't measure: take another "
            "metric, or `trainer run`"
        )
    if isinstance(part, LabelReading) and part.reads_labels and not has_labels:
        raise RunError(
            f"{name_of(part)} needs the class of each sample, and the data set has no `targets`: add "
            "labels=..., int64[N]"
        )
    if getattr(part, "scales_lr", False) and not has_optimizer:
        raise RunError(
            f"{name_of(part)} scales the learning rate to make up for the samples that it leaves out: add "
            "optimizer=..."
        )


def labels_of(dataset: Any) -> NDArray[np.int64] | None:
    """Return the classes that torchvision's data sets keep as ``targets``; None where there are none."""
    targets = getattr(dataset, "targets", None)
    if targets is None:
        return None
    try:
        labels = np.asarray(targets)
    except ValueError:
        return None
    whole = labels.dtype.kind in "iu" and labels.shape == (len(dataset),) and labels.min(initial=0) >= 0
    return labels.astype(np.int64) if whole else None
