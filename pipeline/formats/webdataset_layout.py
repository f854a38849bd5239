"""Layout of our WebDatasets: tar shards, an index beside each, and one table of all samples.

::

    train.wds/
        train-000000.tar      000000000.jpg, 000000000.96.jpg, 000000000.cls, 000000001.jpg, ...
        train-000000.idx      DALI's index of that shard
        ...
        samples.npz           targets, shapes, offsets, checksums and names of all samples, and the card
        card.json

A sample's files share a name, its number over all shards. Images are ``.jpg``, or where they are raw
``.ppm``, of one channel ``.pgm``: such a file ends in plain rows of pixels. Images at a level have its size
before their ending. What is no larger than the level is not stored twice.

Targets are files that webdataset's own ``decode()`` reads: a class is a number in a ``.cls``; labels of which
an image may have several, uint8[C], and values, a float32 or float32[columns], are NumPy's ``.npy``;
unlabeled images have neither. The table of targets that are no classes has schema 2.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.modes import PIXELS, Mode
from pipeline.targets import TargetSpec

BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE
TABLE = "samples.npz"
TABLE_SCHEMA = 2
CLASS_TABLE_SCHEMA = 1
"""Schema of tables of classes, which are written as before."""
SHARD_SIZE = 1 << 28
"""Bytes of a shard, at most; a larger sample has one of its own."""
INDEX_VERSION = "v1.2"
JPEG, RAW, RAW_GRAY, LABEL, ARRAY = "jpg", "ppm", "pgm", "cls", "npy"


@dataclass(frozen=True, slots=True)
class Member:
    """A file within a shard: the bytes before its content, and the size of the content.

    Attributes
    ----------
    name
        Of the file.
    head
        The tar header, and for a raw image the PPM header.
    prefix
        Bytes of the PPM header.
    size
        Of the content that follows.
    """

    name: str
    head: bytes
    prefix: int
    size: int

    @property
    def padding(self) -> int:
        """Bytes from the content's end to the next file."""
        return -(len(self.head) + self.size) % BLOCK

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self.head) + self.size + self.padding


def member(name: str, size: int, prefix: bytes = b"") -> Member:
    """Return the entry of a file of ``prefix`` and ``size`` bytes, independent of date and user."""
    entry = tarfile.TarInfo(name)
    entry.size = len(prefix) + size
    return Member(name, entry.tobuf(tarfile.USTAR_FORMAT) + prefix, len(prefix), size)


def image_ending(mode: Mode, *, raw: bool) -> str:
    """Return the ending of an image's file."""
    return JPEG if not raw else RAW if mode == "RGB" else RAW_GRAY


def image_member(
    index: int, level: int | None, height: int, width: int, size: int, *, raw: bool, mode: Mode = "RGB"
) -> Member:
    """Return the entry of an image file: a JPEG, or raw pixels."""
    key = f"{index:09}" if level is None else f"{index:09}.{level}"
    if raw:
        kind = b"P6" if mode == "RGB" else b"P5"
        prefix = b"%b\n%d %d\n%d\n" % (kind, width, height, PIXELS[mode].white)
        return member(f"{key}.{image_ending(mode, raw=True)}", size, prefix)
    return member(f"{key}.{JPEG}", size)


def target_member(index: int, spec: TargetSpec, target: int | float | NDArray[Any] | None) -> Member | None:
    """Return the entry of a sample's target, with its content in the head; None for unlabeled samples."""
    if spec.kind == "none":
        return None
    if spec.kind == "class":
        return member(f"{index:09}.{LABEL}", 0, str(target).encode())
    content = io.BytesIO()
    np.save(content, np.asarray(target, spec.dtype), allow_pickle=False)
    return member(f"{index:09}.{ARRAY}", 0, content.getvalue())


def ended(size: int) -> int:
    """Return the size of a tar file once it has ended: with two empty blocks, in whole records."""
    return -(-(size + 2 * BLOCK) // RECORD) * RECORD


def index_text(samples: Sequence[Sequence[tuple[str, int, int]]]) -> str:
    """Return DALI's index of a shard, as its ``wds2idx`` writes it.

    Parameters
    ----------
    samples
        For each sample its files' names, offsets and sizes, in the shard's order.
    """
    lines = [f"{INDEX_VERSION} {len(samples)}\n"]
    for files in samples:
        entries = [f"{split_name(name)[1]} {offset} {size} {name}" for name, offset, size in files]
        lines.append(" ".join(entries) + "\n")
    return "".join(lines)


def split_name(name: str) -> tuple[str, str]:
    """Split a file's name where WebDataset does: at the first point of its last part."""
    folder, slash, last = name.rpartition("/")
    key, _, ending = last.partition(".")
    return folder + slash + key, ending
