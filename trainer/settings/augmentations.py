"""Augmentations of a run: completes them with a crop, and refuses combinations that make no sense."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import AUGMENTS
from pipeline.augment import Augment, Cropping, Mixing
from pipeline.augment.standard import Standard
from trainer.errors import RunError

CROPPING = ("standard", "random_resized_crop", "ssl")
"""Augmentations that crop at random, of which a run takes one."""

BASES = (*CROPPING, "center_crop", "multi", "none")
"""Augmentations that determine how images are cropped and flipped; if there is none, one is added."""

UNFLIPPED = ("svhn",)
"""Data sets whose standard augmentation has no flip: a digit's mirror image isn't a digit."""


def complete(parts: Sequence[Augment], base: Augment) -> tuple[Augment, ...]:
    """Return the augmentations, with ``base`` added if none of them crops or flips.

    ``--augment randaugment`` and ``--augment ricap`` are meant as the papers train: with crops and flips
    (Arazo et al. 2021, tables 3 and 4). The base goes after parts on gray levels, as RandAugment is inserted
    before crop and flip there, and before parts on normalized floats and mixing; one whose window an engine
    reads goes first. ``none`` prevents the addition.
    """
    if any(name(part) in BASES for part in parts):
        return tuple(parts)
    floats = (at for at, part in enumerate(parts) if part.domain == "float" or isinstance(part, Mixing))
    at = 0 if isinstance(base, Cropping) else next(floats, len(parts))
    return (*parts[:at], base, *parts[at:])


def base_of(parts: Sequence[Augment], data: str) -> Augment:
    """Return the augmentation that crops in a recipe, else the standard one of the data set ``data``.

    The recipe's is used if it is standard, random_resized_crop or center_crop, with its options.
    ``data`` is a data set's name, or the path of one that is converted.
    """
    own = (part for part in parts if name(part) in ("standard", "random_resized_crop", "center_crop"))
    return next(own, Standard(flip=not set(UNFLIPPED) & set(Path(data).parts)))


def of_command(parts: Sequence[Augment], before: Sequence[Augment], data: str) -> tuple[Augment, ...]:
    """Return the augmentations of a command line, completed by the crop of the recipe's, ``before``."""
    return complete(parts, base_of(before, data))


def check(parts: Sequence[Augment]) -> None:
    """Refuse augmentations that make no sense together; `pipeline.Augmentation` refuses impossible orders.

    Raises
    ------
    RunError
        When nothing is named, a part stands twice with the same options, two parts crop at random, the
        center is cropped after that, ``none`` stands beside another crop, or images are mixed twice.
    """
    if not parts:
        raise RunError('augment must name a part; got []: "none" is for no augmentation')
    names = [name(part) for part in parts]
    said = " ".join(names)
    for at, part in enumerate(parts):
        if part in parts[:at]:
            raise RunError(
                f"augment must name a part once, unless its options differ; got {said}: leave one "
                f"{names[at]} out"
            )
    crops = [known for known in names if known in CROPPING]
    if len(crops) > 1:
        raise RunError(f"augment must crop at random once; got {said}: take one of {' and '.join(crops)}")
    if crops and "center_crop" in names[names.index(crops[0]) :]:
        raise RunError(
            f"center_crop must stand before {crops[0]}, which moves the center; got {said}: swap them"
        )
    beside = [known for known in names if known in BASES and known != "none"]
    if "none" in names and beside:
        raise RunError(
            f"augment none is for chains without crops and flips; got {said}: leave none or {beside[0]} out"
        )
    mixing = [known for known, part in zip(names, parts, strict=True) if isinstance(part, Mixing)]
    if len(mixing) > 1:
        raise RunError(
            f"augment must mix images once, or each is a mixture of mixtures; got {said}: take one of "
            f"{' and '.join(mixing)}"
        )


def name(part: Augment) -> str:
    """Return an augmentation's name in recipes, or its class's name if it is in no table."""
    return next((known for known, cls in AUGMENTS.items() if cls is type(part)), type(part).__name__)
