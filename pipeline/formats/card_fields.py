"""Validation of a card's entries: a card is edited, copied and damaged like any file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from pipeline.modes import MODES
from pipeline.targets import KINDS

_DIGEST = re.compile(r"[0-9a-f]{64}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any, least: int = 0, most: int | None = None) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= least and (most is None or value <= most)


def _is_fraction(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1


def _is_size(value: Any) -> bool:
    return value is None or _is_count(value, 1)


def _is_list(value: Any, entry: Callable[[Any], bool], length: int | None = None) -> bool:
    return isinstance(value, list) and all(map(entry, value)) and length in (None, len(value))


def _is_held_out(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or value.keys() != {"part", "fraction", "seed"}:
        return False
    return (
        value["part"] in ("training", "validation")
        and _is_fraction(value["fraction"])
        and _is_count(value["seed"])
    )


_TEXT = (_is_text, "a text")
_COUNT = (_is_count, "a whole number of at least 0")
_SIZE = (_is_size, "a whole number of at least 1, or null")
_CHANNELS = (
    lambda value: _is_list(value, _is_fraction, 3) or _is_list(value, _is_fraction, 1),
    "3 numbers from 0 to 1, or 1 of gray",
)

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": _TEXT,
    "split": _TEXT,
    "source": _TEXT,
    "created_by": _TEXT,
    "samples": (lambda value: _is_count(value, 1), "a whole number of at least 1"),
    "classes": (lambda value: _is_list(value, _is_text), "a list of texts"),
    "class_counts": (lambda value: _is_list(value, _is_count), "a list of whole numbers of at least 0"),
    "height": _SIZE,
    "width": _SIZE,
    "min_height": _COUNT,
    "max_height": _COUNT,
    "min_width": _COUNT,
    "max_width": _COUNT,
    "mean": _CHANNELS,
    "std": _CHANNELS,
    "encoding": (lambda value: value in ("raw", "jpeg", "mixed"), "raw, jpeg or mixed"),
    "quality": (lambda value: value is None or _is_count(value, 1, 100), "1 to 100, or null"),
    "channels": (lambda value: value in (1, 3) and not isinstance(value, float | bool), "3, or 1 of gray"),
    "max_resolution": _SIZE,
    "square": _SIZE,
    "levels": (
        lambda value: _is_list(value, lambda one: _is_count(one, 1)),
        "a list of whole numbers from 1",
    ),
    "jpeg_share": (lambda value: value is None or _is_fraction(value), "a number from 0 to 1, or null"),
    "skipped": _COUNT,
    "held_out": (_is_held_out, "null, or part, fraction and seed of a validation split"),
    "digest": (
        lambda value: value is None or (_is_text(value) and _DIGEST.fullmatch(value) is not None),
        "64 hexadecimal digits, or null",
    ),
    "target": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "columns": _SIZE,
    "mode": (lambda value: value in MODES, f"one of {', '.join(MODES)}"),
}


def fault_of(entries: dict[str, Any]) -> str | None:
    """Return a message on the first invalid entry of a card; None if all are valid."""
    for name, (holds, rule) in _RULES.items():
        if name in entries and not holds(entries[name]):
            shown = repr(entries[name])
            return f"{name} must be {rule}; got {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return None
