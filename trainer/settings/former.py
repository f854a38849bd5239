"""Names of earlier versions, of settings and of the ledger's phases, and their present names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

OPTIMIZER = ("lr", "momentum", "nesterov", "weight_decay")
"""Settings of a run that are options of its optimizer now."""

PARTS = {"augment": {"center_crop": {"share": "fraction"}}}
"""Options that were renamed, by slot and part; all of parts that stand in sequences."""

PHASES = {"optimise": "optimize"}
"""Phases of the ledger that were renamed."""


def phases_now(seconds: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of a ledger's ``phases`` under their present names."""
    return {PHASES.get(name, name): value for name, value in seconds.items()}


def upgraded(table: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a run's TOML table with the settings of 0.1 in their present form, and the names of those moved.

    Version 0.1 trained with SGD, and decayed every parameter; prediction_variance drew without replacement. A
    table that also has an optimizer isn't of that version, and only renamed options of its parts change.
    """
    table = _with_present_options(table)
    moved = tuple(name for name in OPTIMIZER if name in table)
    values = {key: value for key, value in table.items() if key not in moved}
    if not moved or "optimizer" in table:
        return dict(table), ()
    options, sampler = {name: table[name] for name in moved}, values.get("sampler")
    drawn = sampler if isinstance(sampler, Mapping) else {"name": sampler}
    if drawn.get("name") == "prediction_variance":
        values["sampler"] = {"replacement": False, **drawn}
    return {**values, "optimizer": {"name": "sgd", **options, "decay": "all"}}, moved


def _with_present_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's TOML table with the options of `PARTS` under their present names."""
    values = dict(table)
    for slot in PARTS.keys() & values.keys():
        parts = values[slot] if isinstance(values[slot], list) else [values[slot]]
        values[slot] = [_with_present_names(slot, part) for part in parts]
    return values


def _with_present_names(slot: str, part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    renamed = PARTS[slot].get(str(part.get("name")), {})
    return {renamed.get(option, option): value for option, value in part.items()}


def setting_then(setting: str) -> str:
    """Return the name under which digests of runs know a setting: that of version 0.1.

    >>> setting_then("augment.center_crop.fraction"), setting_then("epochs")
    ('augment.center_crop.share', 'epochs')
    """
    slot, _, rest = setting.partition(".")
    part, _, option = rest.partition(".")
    renamed = PARTS.get(slot, {}).get(part, {})
    then = next((then for then, now in renamed.items() if now == option), option)
    return f"{slot}.{part}.{then}" if option else setting


def option_now(option: str) -> str | None:
    """Return the present name of command-line option ``option`` of version 0.1; None for all others.

    >>> option_now("--weight_decay"), option_now("--augment.center-crop.share"), option_now("--epochs")
    ('--optimizer.weight-decay', '--augment.center_crop.fraction', None)
    """
    name = option.removeprefix("--").replace("_", "-")
    for slot, parts in PARTS.items():
        for part, renamed in parts.items():
            for then, now in renamed.items():
                if option.replace("-", "_") == f"__{slot}.{part}.{then}":
                    return f"--{slot}.{part}.{now}"
    known = {name.replace("_", "-") for name in OPTIMIZER} | {"no-nesterov"}
    return f"--optimizer.{name}" if option.startswith("--") and name in known else None
