"""Check of the probability option, shared by several augmentations."""

from __future__ import annotations

from pipeline.errors import DataError


def check_probability(probability: float) -> None:
    """Raise `DataError` unless ``probability`` is in [0, 1]."""
    if not 0 <= probability <= 1:
        raise DataError(f"probability must be in [0, 1]; got {probability}")
