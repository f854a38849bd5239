"""Conversion of labels of any type in users' files to whole numbers or texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class LabelValues:
    """Labels as numbers or as texts.

    Attributes
    ----------
    numbers
        int64[n]; empty where they are texts.
    texts
        None where they are numbers.
    columns
        Length of one-hot rows; 0 for labels of another kind.
    truth
        Whether all are truth values.
    notes
        How they were interpreted, if they had to be.
    """

    numbers: NDArray[np.int64]
    texts: list[str] | None = None
    columns: int = 0
    truth: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers) if self.texts is None else len(self.texts)

    @property
    def kind(self) -> str:
        """Their type in words."""
        return "whole numbers" if self.texts is None else "texts"


def read_labels(found: Sequence[Any] | NDArray[Any], origin: str, image: Callable[[int], str]) -> LabelValues:
    """Read one label per image; ``origin`` and ``image`` (of an index) are for messages.

    Raises
    ------
    DataError
        When one is missing or no label, or some are numbers and some texts.
    """
    if isinstance(found, np.ndarray):
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim == 2 and found.dtype.kind in "biuf":
            return _one_hot(found, origin, image)
        if found.ndim != 1 or found.dtype.kind not in "biufUSO":
            raise _unfit(origin, f"{found.dtype} of shape {found.shape}")
        if found.dtype.kind not in "SO":
            return _of_array(found, origin, image)
        found = found.tolist()
    values = [_plain(value) for value in found]
    missing = next((index for index, value in enumerate(values) if is_missing(value)), None)
    if missing is not None:
        raise DataError(
            f"every image of {origin} must have a label; {image(missing)} has none: mend its labels, or "
            "leave it out"
        )
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        first.setdefault(_kind(value), index)
    if not first:
        return LabelValues(np.zeros(0, np.int64))
    if len(first) > 1:
        shown = " and ".join(f"{values[index]!r} ({image(index)})" for index in list(first.values())[:2])
        raise _unfit(origin, shown)
    if "text" in first:
        return LabelValues(np.zeros(0, np.int64), [_text(value, origin) for value in values])
    if "row" in first:
        try:
            rows = np.array(values)
        except ValueError:
            raise _several(origin, "lists of different lengths") from None
        if rows.dtype.kind not in "biuf":
            raise _several(origin, f"lists such as {values[0]!r:.60}")
        return read_labels(rows, origin, image)
    if "number" in first:
        if all(type(value) is bool for value in values):
            return _of_array(np.array(values, np.bool_), origin, image)
        if all(isinstance(value, int) for value in values):
            large = next((value for value in values if abs(value) > _LARGEST), None)
            if large is not None:
                raise _unfit(origin, f"{large:,}")
            return LabelValues(np.array(values, np.int64))
        return _of_array(np.array(values, np.float64), origin, image)
    raise _unfit(origin, f"{values[0]!r:.60} ({type(values[0]).__name__})")


def _of_array(values: NDArray[Any], origin: str, image: Callable[[int], str]) -> LabelValues:
    if values.dtype.kind == "U":
        return LabelValues(np.zeros(0, np.int64), values.tolist())
    if values.dtype.kind == "b":
        note = f"labels of {origin} are truth values: False is class 0, True class 1"
        return LabelValues(values.astype(np.int64), truth=True, notes=(note,) if len(values) else ())
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            broken = np.flatnonzero(~(np.isfinite(values) & (values == np.round(values))))
        if len(broken):
            value = values[broken[0]]
            what = "has none (NaN)" if np.isnan(value) else f"has {value}"
            raise DataError(
                f"labels of {origin} must be whole numbers or texts; {image(int(broken[0]))} {what}: mend "
                "its labels, or take them by --targets value"
            )
    if len(values) and max(abs(float(values.max())), abs(float(values.min()))) >= _LARGEST:
        raise _unfit(origin, f"{values[np.argmax(np.abs(values.astype(np.float64)))]:,}")
    note = f"labels of {origin} are whole numbers kept as floats"
    return LabelValues(values.astype(np.int64), notes=(note,) if values.dtype.kind == "f" else ())


def _one_hot(rows: NDArray[Any], origin: str, image: Callable[[int], str]) -> LabelValues:
    wrong = np.flatnonzero(~(((rows == 0) | (rows == 1)).all(1) & ((rows == 1).sum(1) == 1)))
    if len(wrong):
        raise DataError(
            f"labels of {origin} that are rows must be one-hot, a single 1 among zeros; the row of "
            f"{image(int(wrong[0]))} isn't: give one class per image, or take them by --targets multi_label "
            "or value"
        )
    note = f"labels of {origin} are one-hot rows of {rows.shape[1]:,}: the place of the 1 is the class"
    return LabelValues(rows.argmax(1).astype(np.int64), columns=rows.shape[1], notes=(note,))


def _plain(value: Any) -> Any:
    """Convert NumPy's values, and sequences of one, to plain ones."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple) and len(value) == 1:
        return _plain(value[0])
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def is_missing(value: Any) -> bool:
    """Whether a value stands for no label: None or NaN."""
    return value is None or (isinstance(value, float) and value != value)


def _kind(value: Any) -> str:
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str | bytes):
        return "text"
    return "row" if isinstance(value, list | tuple) else "other"


def _text(value: str | bytes, origin: str) -> str:
    try:
        text = value.decode("utf-8-sig") if isinstance(value, bytes) else value
        text.encode()
    except UnicodeError:
        raise _unfit(origin, f"{value!r}, which is no UTF-8") from None
    return text


def _several(origin: str, got: str) -> DataError:
    return DataError(
        f"labels of {origin} must be one per image; got {got}: take them by --targets multi_label"
    )


def _unfit(origin: str, got: str) -> DataError:
    return DataError(
        f"labels of {origin} must be all whole numbers or all texts, one per image; got {got}: mend its "
        "labels"
    )
