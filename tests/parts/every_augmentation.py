"""Every augmentation of the table, with images and keys to draw by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.augment import AUGMENTS, Augment, Mixing
from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.blur import Blur
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.cutmix import Cutmix
from pipeline.augment.multi import Multi
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.ssl import Ssl
from pipeline.augment.standard import Standard
from pipeline.ops.memory import place
from pipeline.randomness import Keys

CPU = torch.device("cpu")


def with_options() -> Iterator[tuple[str, Augment]]:
    yield "randaugment-modern", Randaugment(space="modern", operations=3)
    yield "cutmix-half", Cutmix(per_sample=True, probability=0.5)
    yield "autoaugment-svhn", Autoaugment(policy="svhn")
    yield "autoaugment-imagenet", Autoaugment(policy="imagenet")
    yield "standard-record", Standard(padding=2, fill="reflect", alternate=True)
    yield "blur-long", Blur(probability=1.0, sigma=(1.0, 6.0), kernel=15)
    yield "color_jitter-no-hue", ColorJitter(hue=0.0, probability=1.0)
    yield "ssl-strong", Ssl(magnitude=12.0, solarize=0.5)
    yield "multi-chains", Multi(parts=("none", "randaugment+standard", "ssl"), space="original")


def variants() -> Iterator[tuple[str, Augment]]:
    for name, part in AUGMENTS.items():
        yield name, part()
        if any(field.name == "per_sample" for field in fields(part)):  # type: ignore[arg-type]
            yield f"{name}-per_sample", part(per_sample=True)  # type: ignore[call-arg]
    yield from with_options()


def over(mixing: bool | None = None) -> pytest.MarkDecorator:
    chosen = {name: part for name, part in variants() if mixing in (None, isinstance(part, Mixing))}
    return pytest.mark.parametrize("part", list(chosen.values()), ids=list(chosen))


every_part, every_mixing, every_other = over(), over(mixing=True), over(mixing=False)


def keys_of(ids: np.ndarray, step: int = 3) -> Keys:
    return Keys(seed=11, round=2, step=step, ids=ids, occurrences=ids % 3)


def images_for(part: Augment, n: int, height: int, width: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(n * 1000 + height)
    levels = torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)
    if part.domain == "float":
        levels = levels.to(torch.float32) / 100 - 1
    return levels.contiguous(memory_format=torch.channels_last)


def drawn(part: Augment, keys: Keys, height: int, width: int) -> dict[str, Tensor]:
    return {name: place(array, CPU) for name, array in part.draw(keys, height, width).items()}
