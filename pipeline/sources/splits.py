"""Names that tools give to the splits of a data set."""

from __future__ import annotations

import re

SPLITS = {
    "train": ("train", "training", "trainset"),
    "test": ("test", "testing", "testset"),
    "val": ("val", "valid", "validation", "dev", "eval", "valset"),
}
"""Every split, and the names that stand for it."""

_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}


def plain_split(name: str) -> str | None:
    """Return the split that exactly this name stands for, as "val" for "valid"; None for other names."""
    return _SPLIT_OF.get(name)


def split_in_words(text: str) -> str | None:
    """Return the split that a word of ``text`` stands for, in any case: "train" for "seg_Train2"."""
    words = re.split(r"[^a-z]+", text.lower())
    return next((split for split, names in SPLITS.items() if not set(names).isdisjoint(words)), None)
