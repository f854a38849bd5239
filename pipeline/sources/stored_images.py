"""The images of a converted data set, one by one, as a source."""

from __future__ import annotations

import copy
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import CorruptSampleError
from pipeline.formats import Converted
from pipeline.modes import Mode
from pipeline.sources.pixels import UnkeptModeError, array_to_mode
from pipeline.sources.protocol import no_labels
from pipeline.targets import TargetKind


class StoredImages:
    """The images of a converted set without their targets, each read when it is asked for.

    Where an engine would refuse a whole batch, `read` refuses the image that is broken.

    Parameters
    ----------
    data
        The set.
    """

    kind: TargetKind = "none"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mode: Mode = "RGB"

    def __init__(self, data: Converted) -> None:
        self._data = data
        self.name, self.split = data.card.name, data.card.split
        self.origin = str(data.path)
        self.labels = no_labels(len(data))

    def __len__(self) -> int:
        return len(self._data)

    def fingerprint(self) -> str:
        """Return the card's digest, or the number of images where it has none; see `Source.fingerprint`."""
        return self._data.card.digest or f"{len(self):,} images"

    def in_mode(self, mode: Mode) -> StoredImages:
        """Return the same images in another mode; see `pipeline.sources.protocol.in_mode`."""
        other = copy.copy(self)
        other.mode = mode
        return other

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        image = self._data.image(index)
        if self._data.card.mode == self.mode:
            return image
        try:
            return array_to_mode(image, self.mode)
        except UnkeptModeError as error:
            raise CorruptSampleError(f"{self.sample_name(index)} of {self.origin} must {error}") from None

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is where it is stored as a JPEG; see `Source.encoded`."""
        if not self._data.compressed[index] or self._data.card.mode != self.mode:
            return None
        # What is broken is refused here, by name.
        self._data.image(index)
        return self._data.encoded(index)

    def sample_name(self, index: int) -> str:
        """Return the name of image ``index`` in the set's own source."""
        return self._data.name(index)
