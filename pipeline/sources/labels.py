"""Numbering of labels: numbers and names, as found, to numbers from 0 and names for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources.class_names import alike, changed, listed, tidied
from pipeline.sources.label_values import LabelValues, is_missing, read_labels

_MOST_CLASSES = 1_000_000
_LEAST_FILLED = 0.1
"""Minimum fraction of unnamed classes with images; below it the numbers aren't classes (identifiers, say)."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """Numbered labels, and their classes.

    Attributes
    ----------
    labels
        int64[n], indices into ``classes``; targets of other kinds as `pipeline.targets.TargetSpec` has them.
    classes
        Names.
    notes
        Notes for the person who converts these, one line each.
    """

    labels: NDArray[Any]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def numbered(
    found: Sequence[Any] | NDArray[Any],
    origin: str,
    classes: Sequence[str] | None = None,
    others: Iterable[Any] = (),
    image: Callable[[int], str] = "image {}".format,
) -> Numbered:
    """Number labels and name their classes.

    Whole numbers stay as they are. Texts are numbered in the order of ``classes``, or where there are none in
    that of their names; blanks around a name and the way in which its accents are encoded make no class of
    their own. Classes without names are called by their numbers, those of truth values False and True.

    Parameters
    ----------
    found
        One label per image: whole numbers (as floats, too), truth values, texts, or one-hot rows.
    origin
        Description of their origin, for messages.
    classes
        Names of the classes, in the order of their numbers.
    others
        Labels of further images with the same classes, such as another split's; missing ones are ignored.
    image
        Name of an image as a format of its index, for messages.

    Raises
    ------
    DataError
        When a label is missing or no label, when some are numbers and some texts, when one lies outside of
        the classes, or when hardly any of the numbers up to the largest occurs.
    """
    values = read_labels(found, origin, image)
    further = read_labels([one for one in others if not is_missing(one)], origin, "another split's {}".format)
    if values.texts is not None or further.texts is not None:
        if len(values) and len(further) and (values.texts is None) != (further.texts is None):
            raise DataError(
                f"labels of {origin} must be of one type in all splits; they are {values.kind} here and "
                f"{further.kind} in another: write them alike"
            )
        labels, names, notes = _by_name(values.texts or [], origin, classes, further.texts or [], image)
    else:
        labels, names, notes = _by_number(values.numbers, origin, classes, further, values.columns, image)
        if classes is None and values.truth and len(names) <= 2:
            names = ["False", "True"]
    notes = [*values.notes, *notes]
    if len(labels):
        notes += empty_classes(labels, names)
    return Numbered(labels, tuple(names), tuple(notes))


def check_labels(
    labels: NDArray[np.int64],
    classes: int,
    origin: str,
    image: Callable[[int], str] = "image {}".format,
    remedy: str = "mend its labels",
) -> None:
    """Check that labels are of the given number of classes, from 0; ``image`` names one by its index.

    Raises
    ------
    DataError
        When one isn't; the line names the first such image.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        value = int(labels[wrong[0]])
        unknown = ", as where it is not known" if value == -1 else ""
        raise DataError(
            f"a label of {origin} must be one of its {classes} classes, numbered from 0; "
            f"{image(int(wrong[0]))} has {value}{unknown}: {remedy}"
        )


def same_type(kinds: Iterable[tuple[str, str]], origin: str) -> None:
    """Check that labels are of one type in all files: ``kinds`` has each file's name and its labels' type.

    Raises
    ------
    DataError
        When they aren't; the line names the first file of either type.
    """
    first: dict[str, str] = {}
    for name, kind in kinds:
        first.setdefault(kind, name)
    if len(first) > 1:
        shown = " and ".join(f"{kind} in {name}" for kind, name in list(first.items())[:2])
        raise DataError(f"labels of {origin} must be of one type throughout; got {shown}: write them alike")


def _by_name(
    texts: list[str],
    origin: str,
    classes: Sequence[str] | None,
    others: list[str],
    image: Callable[[int], str],
) -> tuple[NDArray[np.int64], list[str], list[str]]:
    """Number texts: labels, names and notes."""
    given = sorted(set(texts) | set(others)) if classes is None else [str(name) for name in classes]
    clean = {name: tidied(name) for name in {*given, *texts}}
    nameless = next((index for index, text in enumerate(texts) if not clean[text]), None)
    if nameless is not None:
        raise DataError(
            f"every image of {origin} must have a label; that of {image(nameless)} is empty "
            f"({texts[nameless]!r}): mend its labels"
        )
    names = [clean[name] for name in given] if classes is not None else sorted({clean[one] for one in given})
    numbers = {name: number for number, name in reversed(list(enumerate(names)))}
    if len(numbers) < len(names):
        twice = next(name for number, name in enumerate(names) if numbers[name] != number)
        raise DataError(f"classes of {origin} must have names of their own; two are called {twice!r}")
    unknown = next((index for index, text in enumerate(texts) if clean[text] not in numbers), None)
    if unknown is not None:
        raise DataError(
            f"a label of {origin} must be one of its {len(numbers)} classes; got {texts[unknown]!r} for "
            f"{image(unknown)}: mend its labels"
        )
    labels = np.array([numbers[clean[text]] for text in texts], np.int64)
    return labels, names, [*changed(sorted(given)), *alike(names)]


def _by_number(
    labels: NDArray[np.int64],
    origin: str,
    classes: Sequence[str] | None,
    others: LabelValues,
    columns: int,
    image: Callable[[int], str],
) -> tuple[NDArray[np.int64], list[str], list[str]]:
    """Check numbers: labels, names and notes."""
    notes: list[str] = []
    if classes is None:
        every = np.concatenate([labels, others.numbers])
        count = max(int(every.max(initial=-1)) + 1, columns, others.columns)
        filled = len(np.unique(every[every >= 0]))
        if count > _MOST_CLASSES or filled < _LEAST_FILLED * count:
            raise DataError(
                f"labels of {origin} must be numbers of classes, counted from 0; the largest is "
                f"{count - 1:,} and {filled:,} different ones occur: number them without gaps, or write them "
                "as texts"
            )
        if len(every) and every.min() == 1:
            notes.append(
                f"no label of {origin} is 0: they seem to be counted from 1, and class 0 stays empty"
            )
        names = [str(number) for number in range(max(count, 1))]
    else:
        names = [str(name) for name in classes]
        notes += alike(names)
    check_labels(labels, len(names), origin, image)
    return labels, names, notes


def empty_classes(labels: Sequence[int] | NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """Return a note on classes without images; none where there are no such classes."""
    missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if not len(missing):
        return []
    shown = listed([repr(names[number]) for number in missing.tolist()])
    have = "has" if len(missing) == 1 else "have"
    return [f"{len(missing):,} of the {len(names):,} classes {have} no images: {shown}"]
