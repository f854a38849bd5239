"""Option checks of several selections."""

from __future__ import annotations

import math

from trainer.errors import RunError


def check_at_least(name: str, value: float, least: float) -> None:
    """Refuse an option below ``least``, infinite or NaN."""
    if not value >= least or math.isinf(value):
        raise RunError(f"selection.{name} must be at least {least:g} and finite; got {value:g}")


def check_fraction(name: str, value: float) -> None:
    """Refuse an option that isn't a fraction above 0 and at most 1."""
    if not 0 < value <= 1:
        raise RunError(f"selection.{name} must be above 0 and at most 1; got {value:g}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an option that isn't one of its choices."""
    if value not in choices:
        raise RunError(f"selection.{name} must be one of {', '.join(choices)}; got {value!r}")
