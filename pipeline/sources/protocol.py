"""Source: images and their targets that a conversion reads, one by one."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.modes import Mode
from pipeline.targets import TargetKind, TargetSpec


class Source(Protocol):
    """One split of a data set as its users keep it.

    `read` and `encoded` are called from several threads at once, in no particular order.
    """

    @property
    def name(self) -> str:
        """Name of the data set, as in "cifar10"."""
        ...

    @property
    def split(self) -> str:
        """Name of the split, as in "train"."""
        ...

    @property
    def origin(self) -> str:
        """Description of the images' origin in words, without paths of one machine."""
        ...

    @property
    def kind(self) -> TargetKind:
        """Kind of its targets; see `pipeline.targets.TargetSpec`."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or of the labels that an image may have; empty for other targets."""
        ...

    @property
    def labels(self) -> NDArray[Any]:
        """The targets, of the dtype and shape for ``kind``; float32[n, 0] for unlabeled images."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the person who converts this, one line each."""
        ...

    def __len__(self) -> int: ...

    def fingerprint(self) -> str:
        """Return a text that differs where the images differ: quickly, from sizes and times where possible.

        A killed conversion resumes only if this is unchanged.
        """
        ...

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``: uint8[h, w, 3], RGB, upright; in another mode as `pipeline.modes` has it.

        Raises
        ------
        CorruptSampleError
            When it can't be read; the line names it.
        """
        ...

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as a JPEG file that needs no conversion, or None if there is no such file.

        Raises
        ------
        CorruptSampleError
            When it can't be read; the line names it.
        """
        ...

    def sample_name(self, index: int) -> str:
        """Return the name by which a person finds image ``index`` ("airplane/0001.jpg")."""
        ...


def in_mode(source: Source, mode: Mode) -> Source:
    """Return the same images, read in another mode than RGB; see `pipeline.sources.pixels.decode`.

    Raises
    ------
    DataError
        When the source has RGB images alone, as it lacks a method ``in_mode(mode)`` that returns it so.
    """
    if mode == "RGB":
        return source
    change = getattr(source, "in_mode", None)
    if change is None:
        raise DataError(
            f"images to be kept in mode {mode} must come from a source that reads them so; {source.origin} "
            "reads RGB alone: leave --mode out"
        )
    found: Source = change(mode)
    return found


def spec_of(source: Source) -> TargetSpec:
    """Return the specification of a source's targets."""
    return TargetSpec.of(source.kind, source.classes, source.labels)


def targets_of(source: Source) -> NDArray[Any] | None:
    """Return the targets of a source; None for unlabeled images."""
    return None if source.kind == "none" else source.labels


def no_labels(samples: int) -> NDArray[np.float32]:
    """Return the ``labels`` of unlabeled images, float32[samples, 0]."""
    return np.zeros((samples, 0), np.float32)
