"""A source with the class numbers of another set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources.class_names import listed, tidied
from pipeline.sources.protocol import Source
from pipeline.sources.wrapped import Wrapped


class Renumbered(Wrapped):
    """The images of ``source`` with labels that are indices into ``classes``, or a column for each.

    Parameters
    ----------
    source
        The images and their class names.
    classes
        Names of all classes, in the order of their numbers.
    owner
        The set that the classes are from, for messages.

    Raises
    ------
    DataError
        When images are of a class that isn't among them, or have none.
    """

    def __init__(self, source: Source, classes: Sequence[str], owner: str) -> None:
        super().__init__(source)
        self.kind = source.kind
        self.classes = tuple(classes)
        if source.kind not in ("class", "multi_label"):
            raise DataError(
                f"classes can be numbered as in {owner} where images have some; the targets of "
                f"{source.origin} are of kind {source.kind}: leave --classes-of out"
            )
        numbers = {tidied(name): number for number, name in enumerate(classes)}
        if len(numbers) < len(classes):
            raise DataError(f"classes of {owner} must have names of their own to number others by")
        table = np.array([numbers.get(tidied(name), -1) for name in source.classes], np.int64)
        labels = source.labels
        used = np.unique(labels) if source.kind == "class" else np.flatnonzero(labels.any(axis=0))
        unknown = [source.classes[label] for label in used if table[label] < 0]
        if unknown:
            raise DataError(
                f"classes of {source.origin} must be among those of {owner}; {len(unknown):,} aren't: "
                f"{listed([repr(name) for name in unknown])}: leave their images out, or rename them"
            )
        self.labels: NDArray[Any]
        if source.kind == "class":
            self.labels = table[labels]
        else:
            self.labels = np.zeros((len(labels), len(classes)), labels.dtype)
            self.labels[:, table[used]] = labels[:, used]
        self.notes = (*source.notes, f"classes are numbered as in {owner}")
