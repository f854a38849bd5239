"""Labeled images to evaluate on, with their targets matched to a network's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.formats import FORMATS, Converted, is_converted, open_dataset
from pipeline.sources import SOURCES, data_directory, open_source, splits_of
from pipeline.sources.protocol import Source, spec_of, targets_of
from pipeline.targets import LABEL, TargetKind
from trainer.inference.tasks import Matched, Task


@dataclass(frozen=True, slots=True, eq=False)
class Labeled:
    """Images with targets that a network was trained for.

    Attributes
    ----------
    images
        Converted or not.
    targets
        Arranged as the network's outputs.
    name
        What the set is called.
    notes
        What a person should know of it, a line each.
    """

    images: Converted | Source
    targets: Matched
    name: str
    notes: tuple[str, ...] = ()


def open_images(
    text: str,
    split: str | None = None,
    data_dir: Path | None = None,
    targets: TargetKind | None = None,
) -> Converted | Source:
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
    targets
        Kind of the targets that a source is read with: see `pipeline.sources.open_source`.

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
    if split is None:
        there = splits_of(text)
        split = next((part for part in ("test", "val") if part in there), None)
    return open_source(text, split=split, data_dir=folder, targets=targets)


def match_targets(images: Converted | Source, name: str, task: Task) -> Labeled:
    """Return labeled images with their targets arranged as a network's outputs, by the names of the classes.

    Raises
    ------
    RunError
        When they have targets of another kind, or images of a class that the network doesn't know; the line
        names those.
    """
    notes: tuple[str, ...] = ()
    if is_converted(images):
        spec, targets = images.card.spec, images.targets.get(LABEL)
    else:
        spec, targets, notes = spec_of(images), targets_of(images), tuple(images.notes)
    found = task.match(spec, np.zeros(len(images)) if targets is None else targets, name)
    return Labeled(images, found, name, notes + found.notes)
