"""Compatibility of two sets: their classes matched by name, their shapes compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from shlex import quote

import numpy as np

from pipeline.formats import Converted
from pipeline.sources.class_names import listed
from pipeline.targets import LABEL
from trainer.errors import RunError


def match_classes(train: Converted, test: Converted) -> list[str]:
    """Number the classes of ``test`` as in ``train``, if it has some of them in the same order.

    Classes without images in ``test`` are ignored. Labels and card of ``test`` change in place.

    Returns
    -------
    list[str]
        Notes, one line each, on the classes that ``test`` lacks.

    Raises
    ------
    RunError
        When ``test`` has images of other classes, or its classes in another order; the line names them, and
        what mends it. When it has other labels of which an image has any number, or in another order.
    """
    ours, theirs = train.card.classes, test.card.classes
    if ours == theirs:
        return []
    if train.card.target != "class":
        raise RunError(
            f"training and test set must have the same labels in the same order; {train.path} has "
            f"{_listed(ours)} and {test.path} {_listed(theirs)}: convert the test set with "
            f"--classes-of {quote(str(train.path))} --overwrite"
        )
    used = [name for name, count in zip(theirs, test.card.class_counts, strict=True) if count]
    numbers = {name: number for number, name in enumerate(ours)}
    further = [name for name in used if name not in numbers]
    mend = (
        f"`trainer convert SOURCE {quote(str(test.path))} --classes-of {quote(str(train.path))} --overwrite` "
        "numbers them as the training set does"
    )
    if further:
        raise RunError(
            f"a test set must have classes of its training set; {test.path} has {len(further):,} that "
            f"{train.path} lacks: {_listed(further)}: leave their images out, or convert both sets from one "
            "source; of names that only differ in spelling, rename one"
        )
    if len(numbers) < len(ours) or len(set(used)) < len(used):
        raise RunError(
            f"classes of sets that number them differently must have names of their own; {train.path} has "
            f"{len(ours):,} classes and {test.path} {len(theirs):,}, some of one name: {mend}"
        )
    shared = [name for name in ours if name in set(used)]
    if shared != used:
        place = next(place for place, pair in enumerate(zip(shared, used, strict=True)) if pair[0] != pair[1])
        raise RunError(
            f"training and test set must have their classes in the same order; class {shared[place]!r} of "
            f"{train.path} stands where {test.path} has {used[place]!r}, as {_listed(shared)} against "
            f"{_listed(used)}: {mend}"
        )
    table = np.array([numbers.get(name, -1) for name in theirs], np.int64)
    labels = table[test.labels]
    test.targets = {**test.targets, LABEL: labels}
    counts = np.bincount(labels, minlength=len(ours)).tolist()
    test.card = replace(test.card, classes=ours, class_counts=tuple(counts))
    lacking = [name for name in ours if name not in set(used)]
    if not lacking:
        return []
    return [f"{test.path} has no images of {len(lacking):,} of the {len(ours):,} classes: {_listed(lacking)}"]


def check_modes(train: Converted, others: Sequence[Converted]) -> None:
    """Refuse sets whose images have another mode than the training set's.

    Raises
    ------
    RunError
        The line names both.
    """
    for other in others:
        if other.card.mode != train.card.mode:
            raise RunError(
                f"a run's sets must have images of one mode; those of {train.path} are of {train.card.mode} "
                f"and those of {other.path} of {other.card.mode}: convert either with --mode "
                f"{quote(train.card.mode)}"
            )


def compare_shapes(train: Converted, test: Converted) -> list[str]:
    """Return a note if all images of either set have one shape, and the two differ."""
    ours, theirs = train.card, test.card
    if None in (ours.height, ours.width, theirs.height, theirs.width):
        return []
    if (ours.height, ours.width) == (theirs.height, theirs.width):
        return []
    return [
        f"images of {train.path} are {ours.height}x{ours.width} pixels and those of {test.path} "
        f"{theirs.height}x{theirs.width}: to test at the size of training, convert both with one --square, "
        f"as `trainer convert SOURCE {quote(str(test.path))} --square {ours.height} --overwrite`"
    ]


def _listed(names: Sequence[str]) -> str:
    return listed([repr(name) for name in names])
