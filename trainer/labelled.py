"""The labelled part of a training set, and the rest, which is trained on without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import Converted
from pipeline.randomness import Keys, permutation
from pipeline.selected import Selected
from pipeline.text import read_text
from trainer.config import Run
from trainer.errors import RunError
from trainer.settings.rules import CHOICES

REST = "rest"
"""As a stream's ``data``: the samples of the training set that are not labelled."""


def part(run: Run, train: Converted) -> tuple[Converted, NDArray[np.int64] | None]:
    """Return the labelled part of a training set, and the ids of the rest; all of it, and None, by default.

    Raises
    ------
    RunError
        If more labels are asked for than there are, or a list names samples that aren't in the set.
    """
    if all(getattr(run, name) == usual for name, usual in CHOICES.items()):
        return train, None
    if run.labelled_every is not None:
        ids = np.arange(0, len(train), run.labelled_every, dtype=np.int64)
    elif run.labelled_list is not None:
        ids = _listed(run.labelled_list, train)
    else:
        ids = _drawn(run, train)
    rest = np.setdiff1d(np.arange(len(train), dtype=np.int64), ids)
    return Selected(train, ids), rest


def _drawn(run: Run, train: Converted) -> NDArray[np.int64]:
    """Draw samples class by class, where there are classes, by the seed alone."""
    seed, count = run.labelled_seed, run.labels_per_class
    if train.card.target != "class":
        if count is not None:
            raise RunError(
                f"labels_per_class must draw from classes; the targets of {train.path} are of kind "
                f"{train.card.target}: give a fraction, --labelled 0.1"
            )
        groups = [np.arange(len(train), dtype=np.int64)]
    else:
        labels = train.labels
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        least = min(groups, key=len)
        if count is not None and count > len(least):
            name = train.card.classes[int(labels[least[0]])]
            raise RunError(
                f"labels_per_class must be at most the samples of every class; got {count:,}, and {name} has "
                f"{len(least):,}: give at most {len(least):,}"
            )
    chosen = []
    for index, group in enumerate(groups):
        number = count if count is not None else max(1, round(run.labelled * len(group)))
        keys = Keys(seed, 0, index, group, np.zeros_like(group))
        chosen.append(group[permutation(keys, "labelled")[:number]])
    return np.sort(np.concatenate(chosen))


def _listed(path: Path, train: Converted) -> NDArray[np.int64]:
    """Return the ids of the samples that a file names, one name or one id per line."""
    try:
        words = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is neither UTF-8 nor UTF-16"
        raise RunError(f"labelled_list must be a readable file; {path} can't be read: {reason}") from None
    words = [word for word in words if word]
    names = {train.name(index): index for index in range(len(train))}
    found = []
    for word in words:
        index = names.get(word, int(word) if word.isascii() and word.isdigit() else -1)
        if not 0 <= index < len(train):
            raise RunError(
                f"labelled_list must name samples of {train.path}, by name or by id below {len(train):,}; "
                f"{path} names {word!r}"
            )
        found.append(index)
    if len(found) != len(set(found)) or not found:
        what = "no sample" if not found else "a sample twice"
        raise RunError(f"labelled_list must name each of its samples once; {path} names {what}")
    return np.sort(np.array(found, dtype=np.int64))
