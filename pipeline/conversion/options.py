"""Options of a conversion, and the paths of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import DataError
from pipeline.formats.layout import LARGEST_SIDE
from pipeline.machine import MOST_THREADS
from pipeline.modes import MODES, Mode
from pipeline.pillow import MOST_PIXELS as MOST_DECODED
from pipeline.resolution import MOST_PIXELS

_MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How a conversion stores the images of its source.

    Attributes
    ----------
    encoding
        "raw", "jpeg" or "proportion", a random fraction of JPEGs among raw images; None stores raw what has
        at most 64 pixels on its longer side once resized (judged by 256 of the images, spread evenly), and
        else JPEG.
    jpeg_fraction
        For "proportion", the probability that an image is stored as JPEG; which ones are depends on the seed
        and the image's index in the source.
    quality
        Of JPEGs that have to be encoded, 1 to 100. JPEG files that need no resizing are taken over as they
        are.
    reencode
        Encode those as well.
    max_resolution
        Cap on the longer side, in pixels.
    square
        Side in pixels of the centered square that every image is cut and resized to.
    levels
        Further sizes at which the set holds every image, in pixels: sides of the square where ``square`` is
        given, else shorter sides; an image that is no larger is held once.
    validation
        Fraction of every class that goes to a second file, ``<stem>-validation.beton``; 0 for none.
    seed
        Of the choice of the validation set, and of the JPEGs of "proportion".
    skip_corrupt
        Leave images that can't be decoded out, and list them in ``<name>.skipped.txt``.
    max_pixels
        Pixels of the largest image that is decoded. Files that state more are refused as corrupt, by their
        headers: a few bytes may claim all of a machine's memory.
    workers
        Threads; None for one per core. The bytes written don't depend on it.
    overwrite
        Replace files that are there.
    mode
        Mode that images are stored in: "RGB"; "L", gray of 8 bits; "I;16", gray of 16 bits, always raw.

    Raises
    ------
    DataError
        When a value is out of its range.
    """

    encoding: Literal["raw", "jpeg", "proportion"] | None = None
    jpeg_fraction: float = 0.5
    quality: int = 90
    reencode: bool = False
    max_resolution: int | None = None
    square: int | None = None
    levels: tuple[int, ...] = ()
    validation: float = 0.0
    seed: int = 0
    skip_corrupt: bool = False
    max_pixels: int = MOST_DECODED
    workers: int | None = None
    overwrite: bool = False
    mode: Mode = "RGB"

    def __post_init__(self) -> None:
        if self.encoding not in (None, "raw", "jpeg", "proportion"):
            raise DataError(f"encoding must be raw, jpeg or proportion; got {self.encoding}")
        if self.mode not in MODES:
            raise DataError(f"mode must be one of {', '.join(MODES)}; got {self.mode}")
        if self.mode == "I;16" and self.encoding not in (None, "raw"):
            raise DataError(
                f"images of 16 bits must be stored raw, as JPEGs have 8; got encoding {self.encoding}: leave "
                "it out, or take mode L"
            )
        if not 0 <= self.jpeg_fraction <= 1:
            raise DataError(f"jpeg_fraction must be 0 to 1; got {self.jpeg_fraction}")
        if not 1 <= self.quality <= 100:
            raise DataError(f"quality must be 1 to 100; got {self.quality}")
        for option, most in (
            ("max_resolution", LARGEST_SIDE),
            ("square", MOST_PIXELS),
            ("workers", MOST_THREADS),
        ):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise DataError(f"{option} must be at least 1; got {value}")
            if value is not None and value > most:
                raise DataError(f"{option} must be at most {most:,}; got {value:,}: take less")
        if self.max_pixels < 1:
            raise DataError(f"max_pixels must be at least 1; got {self.max_pixels}")
        if self.square is not None and self.max_resolution is not None:
            raise DataError(
                f"square and max_resolution must not be given together; got {self.square} and "
                f"{self.max_resolution}: square alone settles the size"
            )
        bound = self.square or self.max_resolution
        if list(self.levels) != sorted(set(self.levels)) or any(level < 1 for level in self.levels):
            raise DataError(
                f"levels must be different sizes of at least 1, ascending; got {_listed(self.levels)}"
            )
        if len(self.levels) > _MOST_LEVELS:
            raise DataError(
                f"levels must be at most {_MOST_LEVELS} sizes; got {len(self.levels):,}: leave some out"
            )
        if self.levels and self.levels[-1] > LARGEST_SIDE:
            raise DataError(
                f"levels must be at most {LARGEST_SIDE:,} pixels; got {_listed(self.levels)}: leave out "
                "those above"
            )
        if self.levels and bound is not None and self.levels[-1] >= bound:
            raise DataError(
                f"levels must be below the full size of {bound}; got {_listed(self.levels)}: leave out those "
                "from there on"
            )
        if not 0 <= self.validation < 1:
            raise DataError(f"validation must be at least 0 and below 1, a fraction; got {self.validation}")
        if not 0 <= self.seed < 1 << 32:
            raise DataError(f"seed must be at least 0 and below 2**32; got {self.seed}")


def validation_path(out: Path) -> Path:
    """Return the path of the validation set of a conversion to ``out``."""
    return out.with_name(f"{out.stem}-validation{out.suffix}")


def skipped_path(path: Path) -> Path:
    """Return the path of the list of corrupt images left out of ``path``: ``train.beton.skipped.txt``.

    Each has a line: its name, a tab and the fault, in UTF-8; backslashes, and what would break the line, are
    written out as in Python.
    """
    return path.with_name(f"{path.name}.skipped.txt")


def _listed(levels: tuple[int, ...]) -> str:
    return ",".join(str(level) for level in levels)
