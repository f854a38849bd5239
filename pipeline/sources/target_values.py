"""Conversion of targets of every kind, as found, to the arrays of data sets; classes are in `labels`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources.class_names import alike, changed, listed, tidied
from pipeline.sources.label_values import is_missing
from pipeline.sources.labels import Numbered, numbered
from pipeline.sources.protocol import no_labels
from pipeline.targets import TargetKind

_MOST_LABELS = 100_000
"""Labels of which an image may have several: each takes a byte per image."""
_LARGEST_VALUE = 1 << 128
"""Whole numbers from here on are beyond float32; NumPy takes much larger ones for no floats at all."""
_Namer = Callable[[int], str]


def read_targets(
    kind: TargetKind,
    found: Sequence[Any] | NDArray[Any],
    origin: str,
    classes: Sequence[str] | None = None,
    others: Iterable[Any] = (),
    image: _Namer = "image {}".format,
) -> Numbered:
    """Read one target per image.

    Parameters
    ----------
    kind
        The kind to convert to; see `pipeline.targets.TargetSpec`.
    found
        Of kind class, what `numbered` takes. Of kind multi_label, rows of 0 and 1 or of truth values, equally
        long, or lists of numbers or names of labels, of any length; lists of whole numbers count as rows
        where all are equally long, of at least 2, and hold 0 and 1 alone. Of kind value, a number or
        equally many numbers per image. Of kind none, anything.
    origin
        Description of their origin, for messages.
    classes, others, image
        As for `numbered`.

    Raises
    ------
    DataError
        When one is missing or of another kind, rows differ in length, a value isn't finite, or labels and
        names don't match; the line names the first such image.
    """
    if kind == "class":
        return numbered(found, origin, classes, others, image)
    if kind == "none":
        return Numbered(no_labels(len(found)), (), ())
    if kind == "value":
        return Numbered(_values(found, origin, image), (), ())
    return _multi_label(found, origin, classes, others, image)


def _values(found: Sequence[Any] | NDArray[Any], origin: str, image: _Namer) -> NDArray[np.float32]:
    """Read numbers: float32[n], or float32[n, d] of rows."""
    if isinstance(found, np.ndarray) and found.dtype.kind in "biuf" and found.ndim in (1, 2):
        numbers = found
    else:
        rows = [_plain(value) for value in found]
        for index, row in enumerate(rows):
            entries = row if isinstance(row, list) else [row]
            if not entries or not all(map(_may_be_value, entries)):
                raise _no_value(origin, image(index), row)
        _check_lengths(rows, origin, image)
        numbers = np.array(rows, np.float64)
    if numbers.ndim == 2 and numbers.shape[1] == 0:
        raise _no_value(origin, image(0), [])
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    finite = np.isfinite(values)
    broken = np.flatnonzero(~(finite if values.ndim == 1 else finite.all(axis=1)))
    if len(broken):
        raise _no_value(origin, image(int(broken[0])), numbers[broken[0]].tolist())
    return values


def _may_be_value(entry: Any) -> bool:
    """Whether an entry is a number that NumPy can turn to a float; None becomes NaN."""
    if isinstance(entry, int):
        return abs(entry) < _LARGEST_VALUE
    return entry is None or isinstance(entry, float)


def _no_value(origin: str, image: str, value: Any) -> DataError:
    return DataError(
        f"targets of {origin} that are values must be finite numbers in the range of float32, one or equally "
        f"many per image; {image} has {value!r:.60}: mend or leave it out"
    )


def _check_lengths(rows: list[Any], origin: str, image: _Namer) -> None:
    lengths = [len(row) if isinstance(row, list) else 0 for row in rows]
    odd = next((index for index, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is not None:
        raise DataError(
            f"targets of {origin} must have one length; {image(0)} has {_length(rows[0])} and {image(odd)} "
            f"{_length(rows[odd])}: mend them"
        )


def _length(row: Any) -> str:
    return f"{len(row):,} numbers" if isinstance(row, list) else "a single number"


def _multi_label(
    found: Sequence[Any] | NDArray[Any],
    origin: str,
    classes: Sequence[str] | None,
    others: Iterable[Any],
    image: _Namer,
) -> Numbered:
    if isinstance(found, np.ndarray) and found.ndim == 2 and found.dtype.kind in "biuf":
        return _of_rows(found, origin, classes, image)
    rows = [_plain(value) for value in found]
    for index, row in enumerate(rows):
        if not isinstance(row, list) or any(is_missing(one) or not _is_label(one) for one in row):
            raise DataError(
                f"labels of {origin} must be a list per image, of numbers or names, empty where it has none; "
                f"{image(index)} has {row!r:.60}: mend them"
            )
    lengths = {len(row) for row in rows}
    kinds = {_kind(one) for row in rows for one in row}
    if len(kinds) > 1:
        raise DataError(
            f"labels of {origin} must be all numbers, all names or all truth values; they are "
            f"{' and '.join(sorted(kinds))}: write them alike"
        )
    hot = (
        all(one in (0, 1) for row in rows for one in row)
        if kinds == {"numbers"}
        else kinds == {"truth values"}
    )
    width = max(lengths, default=0)
    if hot and (
        kinds == {"truth values"} or (len(lengths) == 1 and width > 1 and width == len(classes or rows[0]))
    ):
        _check_lengths(rows, origin, image)
        return _of_rows(np.array(rows), origin, classes, image)
    further = [row for row in map(_plain, others) if isinstance(row, list)]
    if kinds == {"names"}:
        return _of_names(rows, further, origin, classes, image)
    return _of_numbers(rows, further, origin, classes, image)


def _of_rows(rows: NDArray[Any], origin: str, classes: Sequence[str] | None, image: _Namer) -> Numbered:
    wrong = np.flatnonzero(~((rows == 0) | (rows == 1)).all(axis=1))
    if len(wrong):
        value = rows[wrong[0]][(rows[wrong[0]] != 0) & (rows[wrong[0]] != 1)][0]
        raise DataError(
            f"rows of labels of {origin} must hold 0 and 1 alone; that of {image(int(wrong[0]))} has "
            f"{value}: mend them, or take them as values"
        )
    if classes is not None and len(classes) != rows.shape[1]:
        raise DataError(
            f"rows of labels of {origin} must be as long as there are names; they have {rows.shape[1]:,} "
            f"columns and there are {len(classes):,} names: mend either"
        )
    names = [str(name) for name in classes] if classes is not None else [str(i) for i in range(rows.shape[1])]
    note = f"labels of {origin} are rows of 0 and 1, a column for each of {len(names):,} labels"
    return _labeled(rows.astype(np.uint8), names, [note], origin)


def _of_numbers(
    rows: list[list[Any]],
    others: list[list[Any]],
    origin: str,
    classes: Sequence[str] | None,
    image: _Namer,
) -> Numbered:
    count = len(classes) if classes is not None else 0
    if classes is None:
        largest = max((one for row in [*rows, *others] for one in row if _kind(one) == "numbers"), default=-1)
        count = int(min(max(largest, -1), _MOST_LABELS)) + 1
    numbers = []
    for index, row in enumerate(rows):
        wrong = next((one for one in row if not 0 <= one < count or one != int(one)), None)
        if wrong is not None or len(set(row)) < len(row):
            fault = "has one of them twice" if wrong is None else f"has {wrong}"
            raise DataError(
                f"lists of labels of {origin} must hold different numbers of its {count:,} labels, counted "
                f"from 0; {image(index)} {fault} ({row!r:.60}): mend them; rows of 0 and 1 must be equally "
                "long"
            )
        numbers.append([int(one) for one in row])
    names = [str(name) for name in classes] if classes is not None else [str(i) for i in range(count)]
    note = f"labels of {origin} are lists of numbers of {len(names):,} labels"
    return _labeled(_spread(numbers, len(names)), names, [note], origin)


def _of_names(
    rows: list[list[Any]],
    others: list[list[Any]],
    origin: str,
    classes: Sequence[str] | None,
    image: _Namer,
) -> Numbered:
    texts = [[_text(one, origin) for one in row] for row in rows]
    if classes is None:
        further = [_text(one, origin) for row in others for one in row if isinstance(one, str | bytes)]
        given = sorted({*further, *(one for row in texts for one in row)})
        names = sorted({tidied(name) for name in given})
    else:
        given = names = [tidied(str(name)) for name in classes]
    numbers = {name: number for number, name in enumerate(names)}
    if len(numbers) < len(names):
        raise DataError(f"labels of {origin} must have names of their own; some have one name: rename one")
    for index, row in enumerate(texts):
        wrong = next((one for one in row if tidied(one) not in numbers or not tidied(one)), None)
        if wrong is not None or len({tidied(one) for one in row}) < len(row):
            fault = "has one of them twice" if wrong is None else f"has {wrong!r}"
            raise DataError(
                f"lists of labels of {origin} must hold different ones of its {len(names):,} labels; "
                f"{image(index)} {fault}: mend them"
            )
    rows_ = _spread([[numbers[tidied(one)] for one in row] for row in texts], len(names))
    return _labeled(rows_, names, [*changed(given), *alike(names)], origin)


def _spread(numbers: list[list[int]], count: int) -> NDArray[np.uint8]:
    """Return lists of numbers as rows of 0 and 1, uint8[n, count]."""
    rows = np.zeros((len(numbers), count), np.uint8)
    at = np.repeat(np.arange(len(numbers)), [len(row) for row in numbers])
    rows[at, np.array([one for row in numbers for one in row], np.int64)] = 1
    return rows


def _labeled(rows: NDArray[np.uint8], names: list[str], notes: list[str], origin: str) -> Numbered:
    if not names or len(names) > _MOST_LABELS:
        raise DataError(
            f"labels of {origin} must be 1 to {_MOST_LABELS:,} different ones; there are {len(names):,}"
            f"{' or more' if names else ''}: number them without gaps, or write them as texts"
        )
    unused = np.flatnonzero(~rows.any(axis=0)).tolist()
    if unused:
        shown = listed([repr(names[number]) for number in unused])
        notes.append(f"{len(unused):,} of the {len(names):,} labels are those of no image: {shown}")
    bare = int((~rows.any(axis=1)).sum())
    if bare:
        notes.append(f"{bare:,} of the {len(rows):,} images have none of the labels")
    return Numbered(rows, tuple(names), tuple(notes))


def _plain(value: Any) -> Any:
    """Turn NumPy's values and any sequence into plain numbers, texts and lists of them."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | set | frozenset | list):
        return [
            _plain(one) for one in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    return float(value) if isinstance(value, Decimal) else value


def _is_label(value: Any) -> bool:
    return isinstance(value, int | float | str | bytes)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth values"
    return "names" if isinstance(value, str | bytes) else "numbers"


def _text(value: str | bytes, origin: str) -> str:
    try:
        return value.decode("utf-8-sig") if isinstance(value, bytes) else value
    except UnicodeError:
        raise DataError(f"labels of {origin} must be UTF-8; got {value!r:.60}: mend them") from None
