"""A converted data set as a source, to convert some of it, or all of it to another format."""

from __future__ import annotations

import copy
from typing import Any

from numpy.typing import NDArray

from pipeline.formats.protocol import Converted
from pipeline.modes import Mode
from pipeline.sources.protocol import no_labels
from pipeline.sources.stored_images import StoredImages
from pipeline.targets import LABEL, TargetKind


class StoredSource:
    """The images and targets of a converted set; JPEG files are taken over as they are stored."""

    def __init__(self, data: Converted) -> None:
        self._data = data
        self._images = StoredImages(data)
        card = data.card
        self.name, self.split, self.origin = card.name, card.split, card.source
        self.kind: TargetKind = card.target
        self.classes = tuple(card.classes)
        self.labels: NDArray[Any] = data.targets[LABEL] if data.targets else no_labels(len(data))
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._data)

    def fingerprint(self) -> str:
        """Return the card's digest; for a set without one, the names and sizes of its samples."""
        data = self._data
        return data.card.digest or f"{data.path} {len(data)} {int(data.sizes.sum())}"

    def in_mode(self, mode: Mode) -> StoredSource:
        """Return the same images in another mode; see `pipeline.sources.protocol.in_mode`."""
        other = copy.copy(self)
        other._images = self._images.in_mode(mode)
        return other

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        return self._images.read(index)

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is stored where it is a JPEG; see `Source.encoded`."""
        taken = self._data.compressed[index] and self._data.card.mode == self._images.mode
        return self._data.encoded(index) if taken else None

    def sample_name(self, index: int) -> str:
        """Return the name that the sample has in the set."""
        return self._data.name(index)
