"""The images of a converted data set, one by one, as a source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import Converted
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

    def read(self, index: int) -> NDArray[np.uint8]:
        """Decode image ``index``; see `Source.read`."""
        return self._data.image(index)

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is where it is stored as a JPEG; see `Source.encoded`."""
        if not self._data.compressed[index]:
            return None
        # What is broken is refused here, by name.
        self._data.image(index)
        return self._data.encoded(index)

    def sample_name(self, index: int) -> str:
        """Return the name of image ``index`` in the set's own source."""
        return self._data.name(index)
