"""Settings of several runs: which differ, labels of runs, groups of runs that differ only in seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.settings.comparison import IDLE, flat
from trainer.slots import RUN_SLOTS

SEEDS = ("seed", "init_seed", "order_seed", "augment_seed", "selection_seed")

PARTS = ("data", *RUN_SLOTS)
"""Settings whose values are clear without the setting's name."""

UNSAID = {
    **{(key, part): said for key, slot in RUN_SLOTS.items() for part, said in slot.unnamed.items()},
    ("counts", "trained"): "by samples",
    ("counts", "compute"): "by compute",
}
"""Labels for values whose own names are too vague beside those of other settings."""


def flatten(table: Mapping[str, Any]) -> dict[str, str]:
    """Return one entry per setting: a part's name under its slot, its options under slot.option.

    >>> flatten({"epochs": 20.0, "optimizer": {"name": "sgd", "lr": 0.1}})
    {'epochs': '20.0', 'optimizer': 'sgd', 'optimizer.lr': '0.1'}
    >>> flatten({"augment": [{"name": "standard"}, {"name": "ricap", "alpha": 0.3}]})
    {'augment': 'standard + ricap', 'augment.ricap.alpha': '0.3'}
    """
    return {key: _value(value) for key, value in flat(table).items()}


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    written = str(value)
    return f"{value:.6g}" if isinstance(value, float) and len(written) > 8 else written


def split(runs: Sequence[Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """Return the keys whose values differ among ``runs``, then the others, in the order of the files."""
    keys = list(dict.fromkeys(key for run in runs for key in run))
    different = [key for key in keys if len({run.get(key) for run in runs}) > 1]
    return different, [key for key in keys if key not in different]


def labels(runs: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[str]:
    """Return short names of ``runs`` made of differing settings, else their folders' ``names``."""
    return by_difference(runs) or _numbered(names)


def by_difference(runs: Sequence[Mapping[str, str]]) -> list[str] | None:
    """Return short names of ``runs`` made of differing settings; None if too many differ, or none."""
    different, _ = split(runs)
    bearing = [key for key in different if _bears(key) and key != "recipe"]
    parts = [key for key in bearing if "." not in key]
    # An option that some runs lack, because their part hasn't it, adds nothing to the part's name.
    options = [key for key in bearing if "." in key and len({run[key] for run in runs if key in run}) > 1]
    for telling in (parts, parts + options, bearing):
        telling.sort(key=lambda key: PARTS.index(key) if key in PARTS else len(PARTS))
        if 0 < len(telling) <= 3:
            made = [", ".join(_say(key, run[key]) for key in telling if key in run) for run in runs]
            if all(made) and len(set(made)) == len(made):
                return made
    return None


def _bears(key: str) -> bool:
    """Whether a setting, or the slot of an option, bears on a run's result."""
    return key.partition(".")[0] not in IDLE


def _say(key: str, value: str) -> str:
    if (key, value) in UNSAID:
        return UNSAID[key, value]
    return value if key in PARTS else f"{key} {value}"


def _numbered(names: Sequence[str]) -> list[str]:
    repeated = {name for name, count in Counter(names).items() if count > 1}
    met: Counter[str] = Counter()
    made = []
    for name in names:
        met[name] += 1
        made.append(f"{name} ({met[name]})" if name in repeated else name)
    return made


def seed_groups(runs: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Return indices of runs that agree in everything but seeds and folders, in order of first appearance."""
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, run in enumerate(runs):
        bearing = {key: value for key, value in run.items() if _bears(key) and key not in SEEDS}
        groups.setdefault(tuple(sorted(bearing.items())), []).append(index)
    return list(groups.values())
