"""Labels as they are found, as numbers and names, to numbers from 0 and names for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

_MOST_CLASSES = 1_000_000


def numbered(
    found: Sequence[Any] | NDArray[Any],
    origin: str,
    classes: Sequence[str] | None = None,
    others: Iterable[Any] = (),
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number labels and name their classes.

    Whole numbers stay as they are. Texts are numbered in the order of ``classes``, or where there are none in
    that of their names. Classes without names are called by their numbers.

    Parameters
    ----------
    found
        A label an image.
    origin
        What they come from, in words, for messages.
    classes
        Names of the classes, in the order of their numbers.
    others
        Labels of further images that are to share the classes, as of another split: whole numbers or texts.

    Raises
    ------
    DataError
        When labels are neither all whole numbers nor all texts, or outside of the classes.
    """
    values = np.asarray(found)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iuU":
        raise DataError(
            f"labels of {origin} must be all whole numbers or all texts, one an image; got "
            f"{values.dtype} of shape {values.shape}"
        )
    others = () if classes else tuple(others)
    if any(isinstance(other, str) for other in others):
        # NumPy makes texts of a mixture; one that is spread over splits must not number them differently.
        values = values.astype(np.str_)
    if values.dtype.kind == "U":
        named = classes or sorted({str(value) for value in (*values.tolist(), *others)})
        numbers = {name: number for number, name in enumerate(named)}
        unknown = next((value for value in values.tolist() if value not in numbers), None)
        if unknown is not None:
            raise DataError(
                f"a label of {origin} must be one of its {len(numbers)} classes; got {unknown}: mend its "
                "labels"
            )
        return np.array([numbers[value] for value in values.tolist()], np.int64), tuple(named)
    labels = values.astype(np.int64)
    if classes is None:
        most = max([int(value) for value in (*labels, *others)], default=0)
        if most >= _MOST_CLASSES:
            raise DataError(
                f"labels of {origin} must be numbers of classes, counted from 0; got {most:,}: number them so"
            )
        classes = [str(number) for number in range(most + 1)]
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            f"a label of {origin} must be one of its {len(classes)} classes, numbered from 0; image "
            f"{wrong[0]} has {labels[wrong[0]]}: mend its labels"
        )
    return labels, tuple(str(name) for name in classes)
