"""The card of a data set: its description in a small JSON file beside it."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, machine_fault
from pipeline.formats.card_fields import fault_of
from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.modes import PIXELS, Mode
from pipeline.targets import TargetKind, TargetSpec
from pipeline.text import read_json, read_text

SCHEMA = 3
_TARGETS_SCHEMA = 2
"""Schema of cards of other targets whose images are RGB."""
_CLASS_SCHEMA = 1
"""Schema of cards of classes: those of RGB images have no newer entry, and so are written as before."""
_REMEDY = "delete the card to have one made from the data file, or convert the images again"

Encoding = Literal["raw", "jpeg", "mixed"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How a validation set was split off, in the cards of both parts.

    Attributes
    ----------
    part
        Which of the two parts this file is.
    fraction
        Fraction of the source requested as validation set; taken class by class.
    seed
        Seed of the choice of samples.
    """

    part: Literal["training", "validation"]
    fraction: float
    seed: int


@dataclass(frozen=True, slots=True)
class Card:
    """Description of one data set on disk.

    Attributes
    ----------
    name, split
        Name and split of the source, as in "cifar10" and "train".
    samples
        Number of images.
    classes
        Names of the classes, or of the labels that a sample may have; empty for other targets.
    class_counts
        Samples of each class, or with each label.
    height, width
        In pixels; None where images differ.
    min_height, max_height, min_width, max_width
        In pixels, over all images.
    mean, std
        Per channel (red, green, blue, or gray) over all pixels of all images, scaled to [0, 1].
    encoding
        "raw" (HWC), "jpeg", or "mixed".
    quality
        JPEG quality of images encoded in conversion; None if none was.
    source
        Description of the images' origin, in words.
    channels
        3, or 1 in the modes of gray.
    max_resolution, square
        How images were resized in conversion; None if they were not.
    levels
        Further sizes at which every image is stored, in pixels: the side of the square where ``square`` is
        set, else the shorter side, and never more than the image's own.
    jpeg_share
        Requested fraction of images stored as JPEG, drawn at random, the others raw; None if the
        encoding was the same for all.
    skipped
        Number of corrupt images of the source that were left out.
    held_out
        The validation split that this file is one part of; None without one.
    digest
        SHA-256 of the data file in hexadecimal; None if unknown, as for a file without a card.
    created_by
        Program and version that wrote the file.
    target
        Kind of the targets; see `pipeline.targets.TargetSpec`. "class" on cards of schema 1.
    columns
        Numbers per sample of targets that are values; None where each sample has one.
    mode
        Of the images: "RGB", also of gray ones; "L" or "I;16" where they were kept so, see `pipeline.modes`.
    """

    name: str
    split: str
    samples: int
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    height: int | None
    width: int | None
    min_height: int
    max_height: int
    min_width: int
    max_width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    encoding: Encoding
    quality: int | None
    source: str
    channels: int = 3
    max_resolution: int | None = None
    square: int | None = None
    levels: tuple[int, ...] = ()
    jpeg_share: float | None = None
    skipped: int = 0
    held_out: HeldOut | None = None
    digest: str | None = None
    created_by: str = ""
    target: TargetKind = "class"
    columns: int | None = None
    mode: Mode = "RGB"

    def __repr__(self) -> str:
        size = "of different sizes" if self.height is None else f"of {self.height}x{self.width} px"
        images = f"{self.samples:,} {self.encoding} images {size}"
        return f"Card({self.name} {self.split}: {images}, {self.spec.words})"

    @property
    def spec(self) -> TargetSpec:
        """Specification of the samples' targets."""
        return TargetSpec(self.target, self.classes, self.columns)

    def to_json(self) -> str:
        """Return the card as JSON text, one attribute per line and the schema last."""
        attributes = asdict(self)
        schema = SCHEMA
        if self.mode == "RGB":
            del attributes["mode"]
            schema = _TARGETS_SCHEMA
            if self.target == "class":
                del attributes["target"], attributes["columns"]
                schema = _CLASS_SCHEMA
        attributes["schema"] = schema
        entries = [f"  {dumps(key)}: {dumps(value)}" for key, value in attributes.items()]
        return "{\n" + ",\n".join(entries) + "\n}\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Card:
        """Read a card; ``path`` is for messages.

        Raises
        ------
        DataError
            When the text is not JSON, or not a card of this schema.
        """
        try:
            entries = read_json(text)
        except ValueError as error:
            raise DataError(f"{path} must be JSON; got {error}: {_REMEDY}") from None
        schema = entries.get("schema") if isinstance(entries, dict) else None
        if schema not in (_CLASS_SCHEMA, _TARGETS_SCHEMA, SCHEMA):
            found = schema if isinstance(entries, dict) else type(entries).__name__
            raise DataError(
                f"{path} must be a card of schema {SCHEMA} or older; got {found}: {_REMEDY}, or install a "
                "newer budgetrain"
            )
        known = {field.name for field in fields(cls)}
        if schema < SCHEMA:
            known -= {"mode"}
        if schema == _CLASS_SCHEMA:
            known -= {"target", "columns"}
        missing = [
            field.name for field in fields(cls) if field.default is MISSING and field.name not in entries
        ]
        if missing:
            raise DataError(
                f"{path} must hold the attributes of a card; it lacks {', '.join(missing)}: {_REMEDY}"
            )
        fault = fault_of(entries)
        if fault is not None:
            raise DataError(f"{path} must hold the attributes of a card; its {fault}: {_REMEDY}")
        entries = {key: _frozen(value) for key, value in entries.items() if key in known}
        if entries.get("held_out") is not None:
            entries["held_out"] = HeldOut(**entries["held_out"])
        card = cls(**entries)
        channels = PIXELS[card.mode].channels
        if not channels == card.channels == len(card.mean) == len(card.std):
            raise DataError(
                f"{path} must have a mean and a deviation for each of the {channels} channels of mode "
                f"{card.mode}; it has {len(card.mean)} and {len(card.std)}, and {card.channels} channels: "
                f"{_REMEDY}"
            )
        try:
            spec = card.spec
        except DataError as error:
            raise DataError(f"{path} must describe targets; {error}: {_REMEDY}") from None
        counted = sum(card.class_counts)
        wrong = (
            counted != card.samples
            if spec.kind == "class"
            else max(card.class_counts, default=0) > card.samples
        )
        if len(card.classes) != len(card.class_counts) or wrong:
            raise DataError(
                f"{path} must count {card.samples:,} samples over {len(card.classes):,} classes; its "
                f"class_counts has {len(card.class_counts):,} counts ({counted:,} in all): {_REMEDY}"
            )
        return card

    def check_same(self, within: Card, path: Path) -> None:
        """Check that this card agrees with the card ``within`` the data; ``path`` is this one's.

        Raises
        ------
        DataError
            When the two differ in more than digest and writer, which the data don't contain.
        """
        ours, theirs = (asdict(replace(card, digest=None, created_by="")) for card in (self, within))
        field = next((name for name in ours if ours[name] != theirs[name]), None)
        if field is not None:
            raise DataError(
                f"{path} must be the card of the data beside it, which hold another {field}; it was changed, "
                f"or is another data set's: {_REMEDY}"
            )

    def of_sizes(self, heights: NDArray[np.int64], widths: NDArray[np.int64]) -> Card:
        """Return a copy of the card with the sizes of these images, int64[n] in pixels."""
        height, width = int(heights[0]), int(widths[0])
        return replace(
            self,
            height=height if (heights == height).all() else None,
            width=width if (widths == width).all() else None,
            min_height=int(heights.min()),
            max_height=int(heights.max()),
            min_width=int(widths.min()),
            max_width=int(widths.max()),
        )

    def stamped(self, digest: str) -> Card:
        """Return a copy of the card for a finished file, with its digest and the program that wrote it."""
        return replace(self, digest=digest, created_by=creator())


def creator() -> str:
    """Return program and version, as on cards."""
    try:
        return f"budgetrain {version('budgetrain')}"
    except PackageNotFoundError:
        return "budgetrain"


def card_path(path: Path) -> Path:
    """Return the path of a data set's card: ``train.card.json`` of ``train.beton``, within ``train.wds``."""
    return path / "card.json" if path.suffix == ".wds" or path.is_dir() else path.with_suffix(".card.json")


def read_card(path: Path) -> Card | None:
    """Return the card beside the data file ``path``; None if there is none.

    Raises
    ------
    DataError
        When a card is there and can't be parsed.
    """
    beside = card_path(path)
    try:
        text = read_text(beside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise machine_fault(str(beside), error) or DataError(
            f"{beside} must be a card that can be read; it can't be ({error.strerror or error}): {_REMEDY}"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{beside} must be UTF-8 text; got {error}: {_REMEDY}") from None
    return Card.from_json(text, beside)


def write_card(path: Path, card: Card) -> None:
    """Write the card beside the data file ``path``, whole or not at all."""
    write_whole(card_path(path), card.to_json().encode())


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
