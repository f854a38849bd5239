"""Images from anywhere, without targets: files by their paths, Pillow images and arrays."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import one_line
from pipeline.sources.encoded import EncodedImages
from pipeline.sources.image_files import JPEG_ENDINGS
from pipeline.sources.pixels import array_to_mode, to_mode
from pipeline.sources.protocol import no_labels
from pipeline.targets import TargetKind

AnyImage = str | Path | Image.Image | NDArray[np.generic]
"""The path of an image file, an open image, or its pixels as `sources.pixels.array_to_mode` takes."""


class LooseImages(EncodedImages):
    """Images that are no data set, such as those to predict.

    Parameters
    ----------
    images
        Each a path, a Pillow image or an array.
    """

    name = "images"
    split = "new"
    origin = "new images"
    kind: TargetKind = "none"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, images: Sequence[AnyImage]) -> None:
        self._images = images
        self.labels = no_labels(len(images))

    def __len__(self) -> int:
        return len(self._images)

    def fingerprint(self) -> str:
        """Return the names, which is all that is known without reading; see `Source.fingerprint`."""
        return "\n".join(map(self.sample_name, range(len(self))))

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        image = self._images[index]
        if isinstance(image, str | Path):
            return super().read(index)
        with self._faults(index):
            if isinstance(image, Image.Image):
                return to_mode(image, self.mode)
            return array_to_mode(image, self.mode)

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is where it is the file of a JPEG; see `Source.encoded`."""
        return super().encoded(index) if isinstance(self._images[index], str | Path) else None

    def sample_name(self, index: int) -> str:
        """Return the path of image ``index`` as it was given, or its number."""
        image = self._images[index]
        return str(image) if isinstance(image, str | Path) else f"image {index}"

    def _bytes(self, index: int) -> bytes:
        # Without waiting, should it be a pipe.
        with os.fdopen(os.open(self._path(index), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is no regular file")
            return file.read()

    def _may_be_jpeg(self, index: int) -> bool:
        return self._path(index).lower().endswith(JPEG_ENDINGS)

    def _path(self, index: int) -> str:
        return str(self._images[index])

    def _place(self, index: int) -> str:
        return one_line(self.sample_name(index))
