"""WebDataset shards: tar files in which the members of a sample share their name up to the first dot."""

from __future__ import annotations

import json
import re
import tarfile
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import DataError
from pipeline.formats.card import read_card
from pipeline.formats.npy import read_npy
from pipeline.formats.tar_members import tar_members
from pipeline.formats.whole import unreadable
from pipeline.sources.encoded import EncodedImages, shards_fingerprint
from pipeline.sources.labels import same_type
from pipeline.sources.target_values import read_targets
from pipeline.targets import TargetKind

_JPEGS = ("jpg", "jpeg")
_IMAGES = (*_JPEGS, "png", "ppm", "pgm", "webp", "bmp", "tif", "tiff", "gif")
_KEYS = ("label", "cls", "class", "target")
"""Entries of a json member that may hold the label."""
_NUMBER = re.compile(rb"[-+]?[0-9]{1,18}")
_LARGEST = 1 << 31
"""Bytes of an image file, at most: what a .beton can hold."""
_LARGEST_TEXT = 1 << 24
"""Bytes of a file with a label, at most."""


@dataclass(slots=True)
class _Sample:
    """One sample as it is met in its shard; a label in a file of its own is bytes."""

    key: str
    ending: str = ""
    start: int = 0
    size: int = 0
    label: Any = None
    further: int = 0


class TarSource(EncodedImages):
    """Samples of an image (jpg, png, ppm, ...) and a label (cls, or an entry ``label`` of json).

    Labels of which an image has several, and values, are an entry of json as well, a list or a number, or an
    array in a file npy; a class beside them, in cls, isn't looked at.

    The shards are gone through once, for labels and places; images are then read where they lie.

    Parameters
    ----------
    name, split
        See `Source`.
    shards
        The files, in order.
    others
        Those of other splits, gone through for their labels where no card names the classes.
    kind
        What the targets are to be; None for what the card states, and for classes where there is none.

    Raises
    ------
    DataError
        When a shard is damaged or cut off, or a sample has no image or no label.
    """

    def __init__(
        self,
        name: str,
        split: str,
        shards: Sequence[Path],
        others: Sequence[Path] = (),
        kind: TargetKind | None = None,
    ) -> None:
        self.name = name
        self.split = split
        # A folder of ours has a card, which knows what the numbers stand for.
        card = read_card(shards[0].parent)
        self.kind = kind or ("class" if card is None else card.target)
        wanted = {"class": ("cls", "json"), "none": ()}.get(self.kind, ("json", "npy"))
        self.origin = f"WebDataset {name} ({split}), {len(shards):,} shards"
        self._shards = list(shards)
        labels: list[tuple[Path, list[Any]]] = []
        entries: list[tuple[int, int, int, bool]] = []
        self._names: list[str] = []
        further = 0
        for number, path in enumerate(self._shards):
            labels.append((path, []))
            for sample in _samples(path, wanted):
                if not sample.ending or (sample.label is None and wanted):
                    held = "cls, or label in json" if self.kind == "class" else "label in json, or npy"
                    part = f"a label ({held})" if sample.ending else "an image"
                    raise DataError(
                        f"every sample of {path} must have {part}; {sample.key} has none: write it again"
                    )
                entries.append((number, sample.start, sample.size, sample.ending in _JPEGS))
                labels[-1][1].append(sample.label)
                self._names.append(f"{path.name}/{sample.key}.{sample.ending}")
                further += sample.further
        self._entries = entries
        classes = None if card is None or card.target != self.kind else card.classes
        notes: list[str] = []
        if classes is None and self.kind in ("class", "multi_label"):
            # Tests are often published without their labels.
            labels += [
                (path, [one.label for one in _samples(path, wanted) if one.label is not None])
                for path in others
            ]
        if self.kind == "class":
            labels, notes = _of_one_type(labels, self.origin)
        here, elsewhere = (
            [label for _, found in part for label in found]
            for part in (labels[: len(self._shards)], labels[len(self._shards) :])
        )
        if self.kind == "multi_label" and classes is not None and len(classes) == 1:
            here = [_as_truth(row) for row in here]
        result = read_targets(self.kind, here, self.origin, classes, elsewhere, self.sample_name)
        if further:
            notes.append(f"{further:,} further images of samples that have one already are left out")
        self.labels, self.classes, self.notes = result.labels, result.classes, (*notes, *result.notes)

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest names, sizes and times of the shards; see `Source.fingerprint`."""
        return shards_fingerprint(self._shards)

    def sample_name(self, index: int) -> str:
        """Return shard and member of image ``index``."""
        return self._names[index]

    def _bytes(self, index: int) -> bytes:
        number, start, size, _ = self._entries[index]
        if size > _LARGEST:
            raise ValueError(f"an image file must have at most {_LARGEST:,} bytes; this one has {size:,}")
        with self._shards[number].open("rb") as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise ValueError(f"the shard ends {size - len(content):,} bytes before it does")
        return content

    def _may_be_jpeg(self, index: int) -> bool:
        return self._entries[index][3]


def _samples(path: Path, wanted: Sequence[str]) -> Iterator[_Sample]:
    """Go through a shard; neighbors with the same name up to the first dot are one sample.

    ``wanted`` are the endings of files that may hold its target.
    """

    def is_part(ending: str) -> bool:
        return ending in _IMAGES or ending in wanted

    current: _Sample | None = None
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(path, "a tar file", error) from None
    with file:
        for key, ending, member in tar_members(path, is_part):
            if current is None or current.key != key:
                if current is not None:
                    yield current
                current = _Sample(key)
            if is_part(ending):
                _add(path, current, ending, member, file)
    if current is not None:
        yield current


def _add(path: Path, sample: _Sample, ending: str, member: tarfile.TarInfo, file: BinaryIO) -> None:
    if ending in _IMAGES and not sample.ending:
        sample.ending, sample.start, sample.size = ending, member.offset_data, member.size
    elif ending in _IMAGES:
        if ending == sample.ending:
            raise DataError(
                f"every file of {path} must have a name of its own; there are two {member.name}: write it "
                "again"
            )
        sample.further += 1
    elif sample.label is None or ending == "cls":
        if member.size > _LARGEST_TEXT:
            raise DataError(
                f"labels of {path} must have at most {_LARGEST_TEXT:,} bytes; {member.name} has "
                f"{member.size:,}: write it again"
            )
        file.seek(member.offset_data)
        content = file.read(member.size)
        label = _label(path, member.name, ending, content)
        sample.label = sample.label if label is None else label


def _label(path: Path, name: str, ending: str, content: bytes) -> Any:
    """Read the target in a file; None where there is none."""
    if ending == "json":
        return _entry(path, name, content)
    if ending == "cls":
        return content.strip() or None
    try:
        return read_npy(content).tolist()
    except ValueError:
        raise DataError(
            f"{name} of {path} must be an array that NumPy can read; it isn't: write it again"
        ) from None


def _entry(path: Path, name: str, content: bytes) -> Any:
    """Find the label in a json member; None where there is none."""
    try:
        entries = json.loads(content)
        return next((entries[key] for key in _KEYS if key in entries), None)
    except RecursionError:
        raise DataError(
            f"{name} of {path} must be JSON that can be read; it is nested too deeply: write it again"
        ) from None
    except (ValueError, TypeError):
        return None


def _as_truth(row: Any) -> Any:
    """Turn a row of ours with one column to truth values: else it would pass for the label's number."""
    return [bool(one) if one in (0, 1) else one for one in row] if isinstance(row, list) else row


def _of_one_type(
    labels: list[tuple[Path, list[Any]]], origin: str
) -> tuple[list[tuple[Path, list[Any]]], list[str]]:
    """Turn labels that were files of their own to numbers where all of them are such, and else to texts.

    Raises
    ------
    DataError
        When those of one shard are all numbers and those of another all texts.
    """
    texts = [[one for one in found if isinstance(one, bytes)] for _, found in labels]
    kinds = [{_NUMBER.fullmatch(one.removeprefix(BOM_UTF8)) is not None for one in found} for found in texts]
    if {True, False} not in kinds:
        named = {frozenset({True}): "whole numbers", frozenset({False}): "texts"}
        same_type(
            (
                (path.name, named[frozenset(kind)])
                for (path, _), kind in zip(labels, kinds, strict=True)
                if kind
            ),
            origin,
        )
    if not any(False in kind for kind in kinds):
        return [
            (path, [int(one.removeprefix(BOM_UTF8)) if isinstance(one, bytes) else one for one in found])
            for path, found in labels
        ], []
    mixed = sum(_NUMBER.fullmatch(one) is not None for found in texts for one in found)
    note = f"labels of {origin} are texts and numbers: all are taken as texts, {mixed:,} numbers as well"
    return labels, [note] if mixed else []
