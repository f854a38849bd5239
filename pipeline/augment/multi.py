"""Multi: one of several augmentations per sample, or per copy of a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Augment, Domain, Draws, HostArrays, Resizing
from pipeline.augment.sequence import apply_in_turn, beneath, draw_in_turn
from pipeline.augment.spelled import spelled
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, integers, uniforms


@dataclass(frozen=True)
class Multi:
    """Apply one of several augmentations to each sample, chosen uniformly.

    In a data set whose samples are multiplied (`pipeline.multiplied.Multiplied`, a run's ``--multiply``),
    copy k of a sample gets augmentation k modulo their number instead: with 20 copies and 5 augmentations
    each is used four times. So each copy is a separate sample, whose importance a sampler can estimate. The
    defaults are the five of "Sample importance in SGD training", appendix A.1.1; for its five on ImageNet
    (appendix C), put ``random_resized_crop`` without flip before it and choose from ``standard:padding=0``,
    ``standard:padding=0+color_jitter``, ``autoaugment:policy=imagenet``, ``randaugment:magnitude=18`` and
    ``trivialaugment_wide``.
    """

    parts: tuple[str, ...] = ("standard", "standard", "autoaugment", "randaugment", "trivialaugment_wide")
    """The augmentations to choose from, by name; a sequence of several is joined by +, and each option is
    preceded by a colon, as in autoaugment:policy=imagenet+standard:padding=0:flip=true."""
    space: Literal["modern", "original"] = "modern"
    """RandAugment's list of operations, if it is one of the parts and sets no space itself; "Sample
    importance in SGD training" uses the modern one."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.parts:
            raise DataError("multi needs at least one augmentation in parts; got none")
        if self.space not in ("original", "modern"):
            raise DataError(f"space must be original or modern; got {self.space!r}")
        self.choices()

    def choices(self) -> tuple[tuple[Augment, ...], ...]:
        """Return the augmentations to choose from, each a sequence of parts."""
        return _choices(self.parts, self.space)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the samples of choice k, ``k/samples`` int64[m], and the draws of its part i, ``k/i/...``.

        ``restore`` int64[n] is the permutation from samples concatenated by choice back to the batch's order.
        """
        choices = self.choices()
        if keys.copies is None:
            which = integers(uniforms(keys, "multi", 1)[:, 0], len(choices))
        else:
            which = keys.copies % len(choices)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(choices) + 1))
        drawn: dict[str, NDArray[np.generic]] = {"restore": np.argsort(order)}
        for k, parts in enumerate(choices):
            samples = order[bounds[k] : bounds[k + 1]]
            own = replace(
                keys,
                ids=keys.ids[samples],
                occurrences=keys.occurrences[samples],
                copies=None if keys.copies is None else keys.copies[samples],
                scope=f"{keys.scope}multi/{k}/",
            )
            drawn[f"{k}/samples"] = samples
            for name, array in draw_in_turn(parts, own, height, width).items():
                drawn[f"{k}/{name}"] = array
        return drawn

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply each choice to its samples, as one batch."""
        pixels = to_pixels(images)
        done = []
        for k, parts in enumerate(self.choices()):
            chosen = torch.index_select(pixels, 0, draws[f"{k}/samples"])
            done.append(to_pixels(apply_in_turn(parts, to_images(chosen), beneath(draws, f"{k}/"))))
        return to_images(torch.index_select(torch.cat(done), 0, draws["restore"]))


@lru_cache(maxsize=64)
def _choices(parts: tuple[str, ...], space: str) -> tuple[tuple[Augment, ...], ...]:
    return tuple(tuple(_part(word, space) for word in choice.split("+")) for choice in parts)


def _part(text: str, space: str) -> Augment:
    # Imported late: the table contains this class.
    from pipeline.augment import AUGMENTS

    able = {
        known: cls
        for known, cls in AUGMENTS.items()
        if cls.domain != "float" and not hasattr(cls, "constituents") and cls is not Multi
    }
    name = text.partition(":")[0]
    if name not in able:
        raise DataError(
            f"parts of multi must be of {', '.join(able)}: each changes the pixel values of single images; "
            f"got {text!r}"
        )
    part = spelled(text, able, **({"space": space} if name == "randaugment" else {}))
    if isinstance(part, Resizing) and any(part.size_of(*size) != size for size in ((2, 3), (5, 7))):
        raise DataError(
            f"parts of multi must not change the image size, as images form one batch; got {text!r}: leave "
            f"the size out, or put {name} before multi"
        )
    return part
