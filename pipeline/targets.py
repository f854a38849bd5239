"""TargetSpec: kind, shape and names of a data set's targets, and validation of their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

TargetKind = Literal["class", "multi_label", "value", "none"]
KINDS: tuple[TargetKind, ...] = get_args(TargetKind)
"""Every kind of target."""
LABEL = "label"
"""Name of a data set's target in ``Dataset.targets`` and ``Batch.targets``."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """The kind, the names and the width of a data set's targets.

    ========== ==================================== ======================================
    kind       values                               ``classes``
    ========== ==================================== ======================================
    class      int64[n], each an index              names of the classes
    multi_label uint8[n, C], 1 for each label it has names of the C labels
    value      float32[n], or float32[n, columns]   none
    none       none: the images are unlabeled       none
    ========== ==================================== ======================================

    Attributes
    ----------
    kind
        See above.
    classes
        Names of classes or labels; empty for the other kinds.
    columns
        Numbers per image of ``value``; None if each image has one, and for the other kinds.

    Raises
    ------
    DataError
        When the attributes are inconsistent.
    """

    kind: TargetKind = "class"
    classes: tuple[str, ...] = ()
    columns: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"the kind of targets must be one of {', '.join(KINDS)}; got {self.kind!r}")
        if self.kind in ("value", "none") and self.classes:
            raise DataError(f"targets of kind {self.kind} must have no classes; got {len(self.classes):,}")
        if self.columns is not None and (self.kind != "value" or self.columns < 1):
            raise DataError(
                f"columns must be at least 1, and of targets of kind value; got {self.columns} of {self.kind}"
            )

    @classmethod
    def of(cls, kind: TargetKind, classes: tuple[str, ...], values: NDArray[Any] | None) -> TargetSpec:
        """Return the spec of these values; see the table above."""
        columns = values.shape[1] if kind == "value" and values is not None and values.ndim == 2 else None
        return cls(kind, classes, columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        return np.dtype({"class": np.int64, "multi_label": np.uint8}.get(self.kind, np.float32))

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one image's values."""
        if self.kind == "multi_label":
            return (len(self.classes),)
        return () if self.columns is None else (self.columns,)

    @property
    def outputs(self) -> int:
        """Number of outputs of a network that predicts them: one per class, label or value; 0 for none."""
        if self.kind == "value":
            return self.columns or 1
        return len(self.classes)

    @property
    def words(self) -> str:
        """The targets in words, as in "10 classes"."""
        if self.kind == "class":
            return f"{len(self.classes):,} classes"
        if self.kind == "multi_label":
            return f"{len(self.classes):,} labels, any number per image"
        if self.kind == "value":
            return "1 value per image" if self.columns is None else f"{self.columns:,} values per image"
        return "no targets"

    def broken(self, values: NDArray[Any] | None) -> dict[int, str]:
        """Return the faults of values of this kind and shape, by image; empty if there are none."""
        if values is None:
            return {}
        count = len(self.classes)
        if self.kind == "class":
            wrong = np.flatnonzero((values < 0) | (values >= count))
            return {
                int(index): f"has label {values[index]}, and there are {count} classes, numbered from 0"
                for index in wrong
            }
        if self.kind == "multi_label":
            wrong = np.flatnonzero((values > 1).any(axis=1))
            return {int(index): "has a label that is neither 0 nor 1" for index in wrong}
        wrong = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        return {int(index): "has a value that is no finite number" for index in wrong}

    def counts(self, values: NDArray[Any] | None) -> tuple[int, ...]:
        """Return the number of images of each class, or with each label; empty for the other kinds."""
        if values is None or self.kind not in ("class", "multi_label"):
            return ()
        if self.kind == "class":
            return tuple(np.bincount(values, minlength=len(self.classes)).tolist())
        return tuple(values.sum(axis=0, dtype=np.int64).tolist())


CLASSES = TargetSpec()
"""Classes, of any number and names."""


def kind_of(values: NDArray[Any] | None) -> TargetKind:
    """Return the kind of stored values by their dtype and shape, as in the table of `TargetSpec`."""
    if values is None:
        return "none"
    return "value" if values.dtype.kind == "f" else "multi_label" if values.ndim == 2 else "class"


def check_targets(
    spec: TargetSpec,
    values: NDArray[Any] | None,
    samples: int,
    origin: str,
    image: Callable[[int], str] = "image {}".format,
) -> None:
    """Check that values agree with their spec; ``image`` names one by its index.

    Raises
    ------
    DataError
        When they don't; the line names the first image at fault.
    """
    if (values is None) != (spec.kind == "none"):
        raise DataError(f"targets of {origin} must be there unless their kind is none; got {spec.kind}")
    if values is None:
        return
    if values.shape != (samples, *spec.row) or values.dtype != spec.dtype:
        raise DataError(
            f"targets of {origin} must be {spec.dtype} of shape {(samples, *spec.row)} ({spec.words}); got "
            f"{values.dtype} of shape {values.shape}"
        )
    wrong = spec.broken(values)
    if wrong:
        first = min(wrong)
        raise DataError(f"targets of {origin} must be sound; {image(first)} {wrong[first]}: mend them")
