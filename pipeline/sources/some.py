"""A source of some of the images of another one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.protocol import Source
from pipeline.sources.wrapped import Wrapped


class Some(Wrapped):
    """The images of ``source`` at ``indices``, int64[n] in ascending order, with its targets.

    A subclass says in ``origin`` which they are, since a conversion resumes only from an equal source.
    """

    def __init__(self, source: Source, indices: NDArray[np.int64]) -> None:
        super().__init__(source)
        self.kind, self.classes = source.kind, tuple(source.classes)
        self._indices = indices
        self.labels: NDArray[Any] = source.labels[indices]

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        return self._source.read(int(self._indices[index]))

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is where it is a JPEG; see `Source.encoded`."""
        return self._source.encoded(int(self._indices[index]))

    def sample_name(self, index: int) -> str:
        """Name image ``index``; see `Source.sample_name`."""
        return self._source.sample_name(int(self._indices[index]))
