"""Multi: one of several augmentations for each sample, or for each copy of a sample."""

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
    """Choose one of several augmentations for each sample, evenly.

    In a data set whose samples are multiplied (`pipeline.multiplied.Multiplied`, a run's ``--multiply``),
    copy k of a sample gets augmentation k instead, counted round: with 20 copies and 5 augmentations each of
    them comes four times. So each copy is a sample of its own, whose importance a sampler can learn. The
    defaults are the five of the sample-importance paper, appendix A.1.1; for its five on ImageNet (appendix
    C), put ``random_resized_crop`` without flip before it and choose from ``standard:padding=0``,
    ``standard:padding=0+color_jitter``, ``autoaugment:policy=imagenet``, ``randaugment:magnitude=18`` and
    ``trivialaugment_wide``.
    """

    parts: tuple[str, ...] = ("standard", "standard", "autoaugment", "randaugment", "trivialaugment_wide")
    """The augmentations to choose from, by name; several that follow each other are joined by +, and options
    follow a colon each, as in autoaugment:policy=imagenet+standard:padding=0:flip=true."""
    space: Literal["modern", "original"] = "modern"
    """RandAugment's list of operations, where it is one of the parts without a space of its own; the
    sample-importance paper uses the modern one."""

    domain: ClassVar[Domain] = "uint8"

    def __post_init__(self) -> None:
        if not self.parts:
            raise DataError("multi needs at least one augmentation in parts; got none")
        if self.space not in ("original", "modern"):
            raise DataError(f"space must be original or modern; got {self.space!r}")
        self.choices()

    def choices(self) -> tuple[tuple[Augment, ...], ...]:
        """Return the augmentations to choose from, each a few parts that follow each other."""
        return _choices(self.parts, self.space)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw which samples get choice k, ``k/samples`` int64[m], and for part i of it ``k/i/...``.

        ``restore`` int64[n] brings the choices' samples, one choice after the other, back into order.
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
    # The table holds this class, too, and so can't be imported before it.
    from pipeline.augment import AUGMENTS

    able = {
        known: cls
        for known, cls in AUGMENTS.items()
        if cls.domain != "float" and not hasattr(cls, "constituents") and cls is not Multi
    }
    name = text.partition(":")[0]
    if name not in able:
        raise DataError(
            f"parts of multi must be of {', '.join(able)}: each changes gray levels of single images; "
            f"got {text!r}"
        )
    part = spelled(text, able, **({"space": space} if name == "randaugment" else {}))
    if isinstance(part, Resizing) and any(part.size_of(*size) != size for size in ((2, 3), (5, 7))):
        raise DataError(
            f"parts of multi must leave images their size, as they come in one batch; got {text!r}: leave "
            f"the size out, or put {name} before multi"
        )
    return part
