"""Names of earlier versions, of settings and of the ledger's phases, and their present names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

OPTIMIZER = ("lr", "momentum", "nesterov", "weight_decay")
"""Settings of a run that are options of its optimizer now."""

PHASES = {"optimise": "optimize"}
"""Phases of the ledger that were renamed."""


def phases_now(seconds: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of a ledger's ``phases`` under their present names."""
    return {PHASES.get(name, name): value for name, value in seconds.items()}


def upgraded(table: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a run's TOML table with the settings of 0.1 in their present form, and the names of those moved.

    Version 0.1 trained with SGD, and decayed every parameter; prediction_variance drew without replacement. A
    table that also has an optimizer isn't of that version and is returned unchanged.
    """
    moved = tuple(name for name in OPTIMIZER if name in table)
    values = {key: value for key, value in table.items() if key not in moved}
    if not moved or "optimizer" in table:
        return dict(table), ()
    options, sampler = {name: table[name] for name in moved}, values.get("sampler")
    drawn = sampler if isinstance(sampler, Mapping) else {"name": sampler}
    if drawn.get("name") == "prediction_variance":
        values["sampler"] = {"replacement": False, **drawn}
    return {**values, "optimizer": {"name": "sgd", **options, "decay": "all"}}, moved


def option_now(option: str) -> str | None:
    """Return the present name of command-line option ``option`` of version 0.1; None for all others.

    >>> option_now("--weight_decay"), option_now("--no-nesterov"), option_now("--epochs")
    ('--optimizer.weight-decay', '--optimizer.no-nesterov', None)
    """
    name = option.removeprefix("--").replace("_", "-")
    known = {name.replace("_", "-") for name in OPTIMIZER} | {"no-nesterov"}
    return f"--optimizer.{name}" if option.startswith("--") and name in known else None
