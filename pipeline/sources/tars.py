"""WebDataset shards: tar files in which the members of a sample share their name up to the first dot."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.formats.card import read_card
from pipeline.sources.encoded import EncodedImages, shards_fingerprint
from pipeline.sources.labels import numbered

_JPEGS = ("jpg", "jpeg")
_IMAGES = (*_JPEGS, "png", "ppm", "pgm", "webp", "bmp", "tif", "tiff", "gif")
_KEYS = ("label", "cls", "class", "target")
"""Entries of a json member that may hold the label."""


@dataclass(slots=True)
class _Sample:
    """One sample as it is met in its shard."""

    key: str
    ending: str = ""
    start: int = 0
    size: int = 0
    label: int | str | None = None


class TarSource(EncodedImages):
    """Samples of an image (jpg, png, ppm, ...) and a label (cls, or an entry ``label`` of json).

    The shards are gone through once, for labels and places; images are then read where they lie.

    Parameters
    ----------
    name, split
        See `Source`.
    shards
        The files, in order.
    others
        Those of other splits, gone through for their labels where no card names the classes.

    Raises
    ------
    DataError
        When a shard is damaged, or a sample has no image or no label.
    """

    def __init__(self, name: str, split: str, shards: Sequence[Path], others: Sequence[Path] = ()) -> None:
        self.name = name
        self.split = split
        self.origin = f"WebDataset {name} ({split}), {len(shards):,} shards"
        self.notes: tuple[str, ...] = ()
        self._shards = list(shards)
        found: list[int | str] = []
        places: list[tuple[int, int, int, bool]] = []
        self._names: list[str] = []
        for number, path in enumerate(self._shards):
            for sample in _samples(path):
                if not sample.ending or sample.label is None:
                    part = "a label (cls, or label in json)" if sample.ending else "an image"
                    raise DataError(
                        f"every sample of {path} must have {part}; {sample.key} has none: write it anew"
                    )
                places.append((number, sample.start, sample.size, sample.ending in _JPEGS))
                found.append(sample.label)
                self._names.append(f"{path.name}/{sample.key}.{sample.ending}")
        self._places = places
        # A folder of ours has a card, which knows what the numbers stand for.
        card = read_card(self._shards[0].parent)
        classes = None if card is None else card.classes
        further = [sample.label for path in others for sample in _samples(path)] if classes is None else []
        self.labels, self.classes = numbered(
            found or np.zeros(0, np.int64),
            self.origin,
            classes,
            # Tests are often published without their labels.
            [label for label in further if label is not None],
        )

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest names, sizes and times of the shards; see `Source.fingerprint`."""
        return shards_fingerprint(self._shards)

    def sample_name(self, index: int) -> str:
        """Give shard and member of image ``index``."""
        return self._names[index]

    def _bytes(self, index: int) -> bytes:
        number, start, size, _ = self._places[index]
        with self._shards[number].open("rb") as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise ValueError(f"the shard ends {size - len(content):,} bytes before it does")
        return content

    def _may_be_jpeg(self, index: int) -> bool:
        return self._places[index][3]


def _samples(path: Path) -> Iterator[_Sample]:
    """Go through a shard; neighbours with the same name up to the first dot are one sample."""
    current: _Sample | None = None
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                # The list of all members, which tarfile keeps, would outgrow everything else.
                tar.members = []  # type: ignore[attr-defined]
                folder, _, base = member.name.rpartition("/")
                key, _, ending = base.partition(".")
                if not member.isfile() or not key:
                    continue
                key = f"{folder}/{key}" if folder else key
                if current is None or current.key != key:
                    if current is not None:
                        yield current
                    current = _Sample(key)
                _add(current, ending.lower(), member, tar)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(
            f"{path} must be a whole, uncompressed tar; reading it gave: {error}: get it again"
        ) from None
    if current is not None:
        yield current


def _add(sample: _Sample, ending: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    if ending in _IMAGES and not sample.ending:
        sample.ending, sample.start, sample.size = ending, member.offset_data, member.size
    elif ending in ("cls", "json") and (sample.label is None or ending == "cls"):
        file = tar.extractfile(member)
        label = _label(b"" if file is None else file.read(), ending)
        sample.label = sample.label if label is None else label


def _label(content: bytes, ending: str) -> int | str | None:
    """Read a label: whole numbers as such, else as text."""
    value: Any
    try:
        if ending == "json":
            entries = json.loads(content)
            value = next((entries[key] for key in _KEYS if key in entries), None)
        else:
            value = content.decode().strip()
            value = int(value) if value.lstrip("-").isdecimal() else value
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, int | str) and value != "" else None
