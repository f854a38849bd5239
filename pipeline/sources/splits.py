"""Names that tools give to the splits of a data set."""

from __future__ import annotations

import re

SPLITS = {
    "train": ("train", "training", "trainset", "trainingset", "trn"),
    "test": ("test", "testing", "testset", "testingset", "tst"),
    "val": (
        "val", "valid", "validate", "validation", "valset", "validationset", "dev", "devset", "eval",
        "evaluation", "evalset",
    ),
}  # fmt: skip
"""Every split, and the names that stand for it."""

_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}


def plain_split(name: str) -> str | None:
    """Return the split that exactly this name stands for, as "val" for "valid"; None for other names."""
    return _SPLIT_OF.get(name)


def split_in_words(text: str) -> str | None:
    """Return the split that a word of ``text`` stands for: "train" for "seg_TRAIN2" and "TrainData"."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return next((split for split, names in SPLITS.items() if not set(names).isdisjoint(words)), None)
