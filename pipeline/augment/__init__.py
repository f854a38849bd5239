"""Augmentations: one file each; parameters are drawn on the host and applied in batches on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.augment.augmentation import Augmentation, HostDraws
from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.blur import Blur
from pipeline.augment.center_crop import CenterCrop
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.cutmix import Cutmix
from pipeline.augment.cutout import Cutout
from pipeline.augment.grayscale import Grayscale
from pipeline.augment.mixup import Mixup
from pipeline.augment.multi import Multi
from pipeline.augment.none import NoAugment
from pipeline.augment.protocol import Augment, Cropping, Draws, Mixing
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.ricap import Ricap
from pipeline.augment.solarize import Solarize
from pipeline.augment.ssl import Ssl
from pipeline.augment.standard import Standard
from pipeline.augment.transform import Transform
from pipeline.augment.trivialaugment_wide import TrivialaugmentWide
from pipeline.errors import DataError

AUGMENTS: dict[str, type[Augment]] = {
    "none": NoAugment,
    "standard": Standard,
    "random_resized_crop": RandomResizedCrop,
    "center_crop": CenterCrop,
    "mixup": Mixup,
    "ricap": Ricap,
    "cutmix": Cutmix,
    "cutout": Cutout,
    "randaugment": Randaugment,
    "autoaugment": Autoaugment,
    "trivialaugment_wide": TrivialaugmentWide,
    "color_jitter": ColorJitter,
    "grayscale": Grayscale,
    "blur": Blur,
    "solarize": Solarize,
    "ssl": Ssl,
    "multi": Multi,
}
"""Every augmentation by the name that recipes use."""


def compose(
    parts: Sequence[str | Augment | Callable[[Tensor], Tensor]],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype = torch.float32,
) -> Augmentation:
    """Return an `Augmentation` of parts: augmentations, their names (with default options), and functions.

    A function of uint8 images, such as one of torchvision's v2 transforms, is called with the whole batch;
    for one call per image pass ``Transform(function, per_sample=True)``.

    Raises
    ------
    DataError
        For a name that isn't in `AUGMENTS`, and as `Augmentation`.
    """
    made: list[Augment] = []
    for part in parts:
        if isinstance(part, Augment):
            made.append(part)
        elif not isinstance(part, str):
            made.append(Transform(part))
        elif part in AUGMENTS:
            made.append(AUGMENTS[part]())
        else:
            raise DataError(f"an augmentation must be one of {', '.join(AUGMENTS)}; got {part!r}")
    return Augmentation(made, mean, std, dtype)


__all__ = [
    "AUGMENTS",
    "Augment",
    "Augmentation",
    "Cropping",
    "Draws",
    "HostDraws",
    "Mixing",
    "Transform",
    "compose",
]
