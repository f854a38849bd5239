"""Labeled images to evaluate on, with their classes matched to a network's by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import FORMATS, Converted, is_converted, open_dataset
from pipeline.sources import SOURCES, data_directory, open_source
from pipeline.sources.class_names import listed, tidied
from pipeline.sources.image_folder import splits_in
from pipeline.sources.protocol import Source
from trainer.errors import RunError


@dataclass(frozen=True, slots=True, eq=False)
class Labeled:
    """Images with the classes that a network knows.

    Attributes
    ----------
    images
        Converted or not.
    labels
        int64[n], numbered as the network's classes.
    name
        What the set is called.
    notes
        What a person should know of it, a line each.
    """

    images: Converted | Source
    labels: NDArray[np.int64]
    name: str
    notes: tuple[str, ...] = ()


def open_images(text: str, split: str | None = None, data_dir: Path | None = None) -> Converted | Source:
    """Open images by what names them: a converted set, or what `trainer convert` reads.

    Parameters
    ----------
    text
        The path of a converted set; the name of a set in the data directory, converted or not; a folder or an
        archive.
    split
        Which part of a source; by default its test part, else its validation part, else all of it.
    data_dir
        Where named sets live; None takes the data directory.

    Raises
    ------
    DataError
        When there is no such set, or it has no such split.
    """
    path, folder = Path(text), data_dir or data_directory()
    if path.suffix.removeprefix(".") in FORMATS:
        return open_dataset(path)
    if not path.exists():
        converted = folder / text / f"{split or 'test'}.beton"
        if converted.is_file():
            return open_images(str(converted))
        if text not in SOURCES and (folder / text).is_dir():
            text = str(folder / text)
    if split is None and text in SOURCES:
        split = "test"
    if split is None and Path(text).is_dir():
        split = next((part for part in ("test", "val") if part in splits_in(Path(text))), None)
    return open_source(text, split=split, data_dir=folder)


def match_labels(images: Converted | Source, name: str, classes: Sequence[str]) -> Labeled:
    """Return labeled images with their classes numbered as a network's, by their names.

    Raises
    ------
    RunError
        When they have no classes, or images of a class that the network doesn't know; the line names those.
    """
    notes: tuple[str, ...] = ()
    if is_converted(images):
        kind, own = images.card.target, images.card.classes
    else:
        kind, own, notes = images.kind, images.classes, tuple(images.notes)
    if kind != "class":
        raise RunError(
            f"a set to evaluate on must have one class per image; the targets of {name} are of kind {kind}: "
            "`trainer predict` needs none"
        )
    theirs: NDArray[np.int64] = images.labels
    known = [tidied(one) for one in classes]
    numbers = {one: number for number, one in enumerate(known)}
    used = [own[label] for label in np.unique(theirs)]
    unknown = [one for one in used if tidied(one) not in numbers]
    if unknown:
        raise RunError(
            f"classes of a set to evaluate on must be among the network's; {name} has {len(unknown):,} of "
            f"{len(used):,} that are not: {listed([repr(one) for one in unknown])}, and the network knows "
            f"{listed([repr(one) for one in classes])}: leave their images out, or rename them"
        )
    labels = theirs
    if tuple(own) != tuple(classes):
        if len(numbers) < len(known):
            raise RunError(
                f"a network's classes must have names of their own to match those of {name} by; several are "
                f"called {Counter(known).most_common(1)[0][0]!r}: convert {name} with --classes-of the "
                "training set"
            )
        table = np.array([numbers.get(tidied(one), -1) for one in own], np.int64)
        labels = table[theirs]
    present = set(np.unique(labels).tolist())
    lacking = [one for number, one in enumerate(classes) if number not in present]
    if lacking:
        notes += (
            f"{name} has no images of {len(lacking):,} of the {len(classes):,} classes: "
            f"{listed([repr(one) for one in lacking])}",
        )
    return Labeled(images, labels, name, notes)
