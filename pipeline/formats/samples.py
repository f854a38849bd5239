"""Samples in mapped files: the part common to all formats once offsets are known."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError, machine_fault
from pipeline.formats.mapped import MappedFile
from pipeline.modes import PIXELS, Mode
from pipeline.pillow import pixel_limit
from pipeline.targets import LABEL, TargetSpec, kind_of

_LOOKS = 32
"""Maximum number of files per call of `Samples.check_unchanged`; each takes about a microsecond."""


class Samples:
    """Images with targets, each a stretch of a mapped file; a format's reader fills in the attributes.

    Attributes
    ----------
    path
        The data set.
    level
        The level of these images, in pixels; None for their full size.
    targets
        By name, one row per sample: "label", of one of the kinds of `pipeline.targets.TargetSpec`; empty
        where the images are unlabeled.
    heights, widths
        int64[n]; sizes in pixels.
    mode
        Of the images.
    compressed
        bool[n]: True for JPEG bytes, False for raw HWC pixels, of 16 bits big-endian.
    files
        The mapped files.
    shards
        uint8 each, their bytes.
    shard, offsets, sizes
        int64[n]: sample i is ``shards[shard[i]][offsets[i]:offsets[i] + sizes[i]]``.
    checksums
        uint32[n], CRC-32 of each sample's bytes, or None.
    faults
        Faults of samples that are known before they are read, by index.
    """

    path: Path
    level: int | None
    targets: Mapping[str, NDArray[Any]]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    mode: Mode
    compressed: NDArray[np.bool_]
    files: Sequence[MappedFile]
    shards: Sequence[NDArray[np.uint8]]
    shard: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    checksums: NDArray[np.uint32] | None
    faults: dict[int, str]
    _looked = 0

    def __len__(self) -> int:
        return len(self.heights)

    def __repr__(self) -> str:
        level = "" if self.level is None else f", level {self.level}"
        return f"{type(self).__name__}({self.path}: {len(self):,} images{level})"

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[n], the class of each sample.

        Raises
        ------
        DataError
            When the targets are of another kind, or there are none.
        """
        return class_labels(self.path, self.targets)

    def name(self, index: int) -> str:
        """Name of sample ``index`` in its source ("airplane/0001.jpg"), or "sample 17" where not known."""
        return f"sample {self.checked(index)}"

    def encoded(self, index: int) -> bytes:
        """Return the bytes of sample ``index`` as they are stored: a JPEG file, or raw HWC pixels."""
        index = self.checked(index)
        start = int(self.offsets[index])
        content: bytes = self.shards[self.shard[index]][start : start + int(self.sizes[index])].tobytes()
        return content

    def image(self, index: int) -> NDArray[Any]:
        """Decode sample ``index``: [h, w, C] of the set's mode, a copy of its own.

        Raises
        ------
        DataError
            When there is no such sample.
        CorruptSampleError
            When its bytes aren't those that were written, or no JPEG of the expected shape.
        """
        pixels = self._read(self.checked(index))
        if isinstance(pixels, str):
            raise self.corrupt(index, pixels)
        return pixels

    def fault(self, index: int) -> str | None:
        """Read sample ``index`` and return its fault in words; None for a sound one."""
        pixels = self._read(self.checked(index))
        return pixels if isinstance(pixels, str) else None

    def check_unchanged(self) -> None:
        """Check that the files are unchanged since they were mapped; of very many, some at each call.

        Raises
        ------
        ChangedDataError
            When one was truncated, written to or replaced; the line names it.
        """
        first, count = self._looked, min(_LOOKS, len(self.files))
        self._looked = (first + count) % len(self.files)
        for place in range(first, first + count):
            self.files[place % len(self.files)].check()

    def same_files(self, others: Self) -> Self:
        """Return ``others``, the same files mapped once more, after checking that they are unchanged.

        Raises
        ------
        ChangedDataError
            When one was altered in between.
        """
        for mine, other in zip(self.files, others.files, strict=False):
            other.check(mine)
        return others

    def checked(self, index: int) -> int:
        """Return ``index`` if there is such a sample."""
        if not 0 <= index < len(self):
            raise DataError(f"a sample of {self.path} must be one of 0 to {len(self) - 1}; got {index}")
        return int(index)

    def blame(self, broken: NDArray[np.bool_], fault: str) -> None:
        """Record a fault of these samples, bool[n], unless one is recorded already."""
        for index in np.flatnonzero(broken):
            self.faults.setdefault(int(index), fault)

    def blame_targets(self, spec: TargetSpec) -> None:
        """Record faults of targets that disagree with the card, such as labels outside of the classes.

        Raises
        ------
        DataError
            When they are of another kind altogether.
        """
        values = self.targets.get(LABEL)
        row = None if values is None or spec.kind == "none" else values.shape[1:]
        if kind_of(values) != spec.kind or (row is not None and row != spec.row):
            shape = "none" if values is None else f"{kind_of(values)} of {values.dtype}, shape {values.shape}"
            raise DataError(
                f"{self.path} must hold the targets that its card states, {spec.words}; it holds {shape}: "
                "delete its card to have one made from the data, or convert the images again"
            )
        for index, fault in spec.broken(values).items():
            self.faults.setdefault(index, fault)

    def corrupt(self, index: int, fault: str) -> CorruptSampleError:
        """Return the error that names file and sample.

        Raises
        ------
        ChangedDataError
            When the reason is that a file was altered since it was mapped.
        """
        for file in self.files:
            file.check()
        number = f"sample {index}"
        name = self.name(index)
        named = number if name == number else f"{number} ({name})"
        if self.level is not None:
            named += f" at level {self.level}"
        return CorruptSampleError(f"{self.path}: {named} {fault}; `trainer verify` lists all broken ones")

    def _read(self, index: int) -> NDArray[Any] | str:
        """Decode a sample, or return its fault in words."""
        if index in self.faults:
            return self.faults[index]
        content = self.encoded(index)
        shape = (int(self.heights[index]), int(self.widths[index]))
        if self.checksums is not None and zlib.crc32(content) != self.checksums[index]:
            return "holds other bytes than were written (its checksum differs)"
        if not self.compressed[index]:
            return PIXELS[self.mode].unpack(content, *shape)
        try:
            with pixel_limit(None):
                image = Image.open(io.BytesIO(content), formats=["JPEG"])
            # Before it is decoded: the size in the file's header may be arbitrarily large.
            if (image.height, image.width) != shape:
                return f"is {image.height}x{image.width}, and the file says {shape[0]}x{shape[1]}"
            if self.mode != "RGB":
                return np.array(image.convert("L"))[:, :, None]
            return np.array(image.convert("RGB"))
        except Exception as error:  # Pillow's plugins raise arbitrary exceptions on damage.
            fault_of_machine = machine_fault(f"sample {index} of {self.path}", error, "give fewer threads")
            if fault_of_machine is not None:
                raise fault_of_machine from None
            return f"can't be decoded ({error})"


def class_labels(path: Path, targets: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the classes among a data set's targets, int64[n].

    Raises
    ------
    DataError
        When there are none; ``path`` is the set's.
    """
    values = targets.get(LABEL)
    if kind_of(values) != "class" or values is None:
        raise DataError(
            f"{path} must have one class per image to be used so; its targets are of kind {kind_of(values)}: "
            "convert it with --targets class"
        )
    return values
