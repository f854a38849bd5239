"""A source of the images of some classes of another one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.sources.class_names import listed, tidied
from pipeline.sources.protocol import Source
from pipeline.sources.some import Some
from pipeline.text import read_text


class OfClasses(Some):
    """The images of some classes of ``source``, in their order, with classes renumbered from 0.

    Classes keep their order. Images of several labels keep those that are among the classes, and stay where
    they have one.

    Parameters
    ----------
    names
        Names of the classes, in any order.
    without
        Leave them out instead, and keep all others.

    Raises
    ------
    DataError
        When the source has no classes, or none of that name, or a name is given twice, or none is left.
    """

    def __init__(self, source: Source, names: Sequence[str], *, without: bool = False) -> None:
        option = "--without-classes" if without else "--classes"
        if source.kind not in ("class", "multi_label"):
            raise DataError(
                f"classes can be chosen where images have some; the targets of {source.origin} are of kind "
                f"{source.kind}: leave {option} out"
            )
        known = {tidied(name): number for number, name in enumerate(source.classes)}
        unknown = [repr(name) for name in names if tidied(name) not in known]
        if unknown:
            raise DataError(
                f"{option} must name classes of {source.origin}, {listed(list(source.classes))}; got "
                f"{listed(unknown)}: mend the names, or give a file with one per line"
            )
        chosen = [known[tidied(name)] for name in names]
        doubled = next((source.classes[number] for number in chosen if chosen.count(number) > 1), None)
        if doubled is not None:
            raise DataError(f"{option} must name each class once; got {doubled!r} twice: leave one out")
        mask = np.zeros(len(source.classes), np.bool_)
        mask[chosen] = True
        kept = np.flatnonzero(~mask if without else mask)
        if len(kept) < 1:
            raise DataError(f"{option} must leave a class; got all of {source.origin}: name fewer")
        labels = source.labels
        of_kept = np.isin(labels, kept) if source.kind == "class" else labels[:, kept].any(axis=1)
        if not of_kept.any():
            raise DataError(f"{option} must leave an image; {source.origin} has none of those classes")
        super().__init__(source, np.flatnonzero(of_kept))
        if source.kind == "class":
            table = np.zeros(len(source.classes), np.int64)
            table[kept] = np.arange(len(kept))
            self.labels = table[self.labels]
        else:
            self.labels = self.labels[:, kept]
        self.classes = tuple(source.classes[number] for number in kept)
        self.origin = f"{source.origin}, of {len(kept):,} of its classes: {', '.join(self.classes)}"
        self.notes = (
            *source.notes,
            f"{len(self):,} of {len(source):,} images are of the {len(kept):,} classes kept",
        )


def read_class_names(words: Sequence[str]) -> list[str]:
    """Return class names as a command line has them: words, or one text file with a name per line.

    Raises
    ------
    DataError
        If the file can't be read or is empty.
    """
    if len(words) != 1 or not words[0].endswith(".txt"):
        return list(words)
    path = Path(words[0])
    try:
        found = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a text file with a class per line; {error}") from None
    if not found:
        raise DataError(f"{path} must have a class per line; it is empty")
    return found
