"""Comparison of runs' settings: those that affect results, and those in which two runs differ."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trainer import recipe
from trainer.config import Run
from trainer.settings import former
from trainer.slots import RUN_SLOTS, Slot

IDLE = (
    "name",
    "runs_dir",
    "data_dir",
    "log_every",
    "checkpoint_seconds",
    "keep_best",
    "price_per_hour",
    "service",
    "prefetch",
    "accept_changed_data",
    "sinks",
)
"""Settings that two sessions of one run may differ in."""

_NAMED = 3
"""Maximum number of differing settings that are named."""


def whole(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's TOML table, as any version wrote it, with all settings of this version.

    Settings newer than the table are at their defaults; newer slots hold the part by which versions without
    them trained. A table of `trainer.recipe.to_table` is returned unchanged, because an option that may be
    None is so by default.
    """
    earlier = {name: {"name": slot.earlier} for name, slot in RUN_SLOTS.items() if slot.earlier is not None}
    filled = {**recipe.to_table(Run()), **earlier, **former.upgraded(table)[0]}
    for name, slot in RUN_SLOTS.items():
        value = filled[name]
        if slot.many:
            filled[name] = [_filled(slot, part) for part in (value if isinstance(value, list) else [value])]
        else:
            filled[name] = _filled(slot, value)
    return filled


def differences(told: Mapping[str, Any], run: Run) -> str | None:
    """Return the settings in which an earlier session's table differs from ``run``, in words; None if none.

    Those that don't affect the result (`IDLE`) may differ, and the recipe's name: without a recipe it is that
    of a folder, which may have been moved.
    """
    then, now = _bearing(whole(told)), _bearing(recipe.to_table(run))
    names = [key for key in dict.fromkeys([*then, *now]) if key != "recipe"]
    other = [key for key in names if then.get(key) != now.get(key)]
    if not other:
        return None
    named = [
        f"{key} is {_said(then.get(key))} there and {_said(now.get(key))} here" for key in other[:_NAMED]
    ]
    more = [f"{len(other) - _NAMED} more differ"] if len(other) > _NAMED else []
    return "; ".join([*named, *more])


def digest(run: Run) -> str:
    """Return a digest of the settings that affect a run's result, SHA-256 in hexadecimal.

    Settings at their defaults are left out, and slots that hold the part that stands for versions without
    them, so that what a later version adds doesn't change it.
    """
    table = recipe.to_table(run)
    names = {
        key: [part["name"] for part in table[key]] if slot.many else table[key]["name"]
        for key, slot in RUN_SLOTS.items()
    }
    usual = _bearing(whole(names))
    slots = {key for key in names if names[key] not in (RUN_SLOTS[key].earlier, [RUN_SLOTS[key].earlier])}
    own = {key: value for key, value in _bearing(table).items() if key in slots or value != usual.get(key)}
    known = {former.setting_then(key): value for key, value in own.items()}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with a part's name under its slot and its options under slot.option.

    >>> flat({"epochs": 20.0, "optimizer": {"name": "sgd", "lr": 0.1}})
    {'epochs': 20.0, 'optimizer': 'sgd', 'optimizer.lr': 0.1}
    >>> flat({"augment": [{"name": "standard"}, {"name": "ricap", "alpha": 0.3}]})
    {'augment': 'standard + ricap', 'augment.ricap.alpha': 0.3}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.update(_part(key, value))
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            names = [str(item.get("name", "?")) for item in value]
            found[key] = " + ".join(names)
            options: dict[str, list[Any]] = {}
            for name, item in zip(names, value, strict=True):
                rest = {option: said for option, said in item.items() if option != "name"}
                for option, said in _part(f"{key}.{name}", rest).items():
                    options.setdefault(option, []).append(said)
            # An augmentation may occur twice.
            found.update({option: said if len(said) > 1 else said[0] for option, said in options.items()})
        else:
            found[key] = value
    return found


def _part(prefix: str, options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, value in options.items():
        if option == "name":
            found[prefix] = value
        elif isinstance(value, Mapping):
            found.update(_part(f"{prefix}.{option}", value))
        else:
            found[f"{prefix}.{option}"] = value
    return found


def _filled(slot: Slot, part: Any) -> Any:
    """Return a part's table with missing options at their defaults."""
    options = part if isinstance(part, Mapping) else {"name": part}
    name = options.get("name")
    if not isinstance(name, str) or name not in slot.table:
        return part
    defaults = {item.name: item.default for item in dataclasses.fields(slot.table[name])}
    usual = {key: value for key, value in defaults.items() if value not in (None, dataclasses.MISSING)}
    return {"name": name, **usual, **options}


def _bearing(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that affect the result, flat; sequences are lists, other types are texts."""
    # TOML has dates, which no run has.
    plain = json.loads(json.dumps({key: table[key] for key in table if key not in IDLE}, default=str))
    return flat(plain)


def _said(value: object) -> str:
    text = "unset" if value is None else " ".join(json.dumps(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
