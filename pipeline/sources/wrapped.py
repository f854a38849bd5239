"""A source whose images are those of another one."""

from __future__ import annotations

import copy
from typing import Any, Self

from numpy.typing import NDArray

from pipeline.modes import Mode
from pipeline.sources.protocol import Source, in_mode


class Wrapped:
    """The images of ``source``, for sources that have other targets for them, or some of them.

    Attributes
    ----------
    name, split, origin, notes
        Of the source; a subclass adds its own notes.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self.split = source.split
        self.origin = source.origin
        self.notes: tuple[str, ...] = tuple(source.notes)

    def __len__(self) -> int:
        return len(self._source)

    def fingerprint(self) -> str:
        """Return the source's own; targets and ``origin`` are compared besides."""
        return self._source.fingerprint()

    def in_mode(self, mode: Mode) -> Self:
        """Return the same images in another mode; see `pipeline.sources.protocol.in_mode`."""
        other = copy.copy(self)
        other._source = in_mode(self._source, mode)
        return other

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        return self._source.read(index)

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is where it is a JPEG; see `Source.encoded`."""
        return self._source.encoded(index)

    def sample_name(self, index: int) -> str:
        """Name image ``index``; see `Source.sample_name`."""
        return self._source.sample_name(index)
