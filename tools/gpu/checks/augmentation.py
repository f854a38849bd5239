"""Cost of augmentation: draws on the host, copies of their parameters, and kernels on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch

from pipeline import Augmentation, compose
from pipeline.augment import Draws
from pipeline.augment.randaugment import Randaugment
from pipeline.randomness import Keys
from tools.gpu.outcome import Outcome, Row, Setting
from tools.gpu.timing import launches, timed

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)

BATCHES = ((32, 1024), (32, 128), (224, 256))
"""Image size, and images per batch."""

DRAWN = 8
"""Number of batches used in turn, so that results don't depend on one batch's group sizes."""

AUGMENTATIONS: dict[str, tuple[str | Randaugment, ...]] = {
    "none": ("none",),
    "standard": ("standard",),
    "standard + ricap": ("standard", "ricap"),
    "standard + mixup": ("standard", "mixup"),
    "randaugment + standard + ricap": (Randaugment(space="modern"), "standard", "ricap"),
    "color_jitter": ("color_jitter",),
    "random_resized_crop": ("random_resized_crop",),
    "ssl": ("ssl",),
}


def check(setting: Setting) -> Outcome:
    """Time the three parts of each augmentation alone."""
    outcome, rows, device = Outcome(), [], torch.device(setting.device)
    cases = [(name, pixels, images) for pixels, images in BATCHES for name in AUGMENTATIONS]
    for name, pixels, images in setting.clock.cases([("standard + ricap", 8, 4)] if setting.smoke else cases):
        work = Work(compose(AUGMENTATIONS[name], MEAN, STD), pixels, images, device)
        rows.append({"augmentation": f"{name}, {images} of {pixels}", **work.row(2 if setting.smoke else 20)})
    outcome.tables["Milliseconds per batch, each part alone"] = rows
    return outcome


class Work:
    """Batches of one augmentation, drawn in advance, and their images on the device."""

    def __init__(self, made: Augmentation, pixels: int, images: int, device: torch.device) -> None:
        self._augmentation, self._pixels, self._device = made, pixels, device
        levels = torch.randint(0, 256, (images, pixels, pixels, 3), dtype=torch.uint8, device=device)
        self._images = levels.permute(0, 3, 1, 2)
        ids = np.arange(images)
        self._keys = [Keys(1, step, step, ids, np.zeros(images, np.int64)) for step in range(DRAWN)]
        self._drawn = [made.draw(keys, pixels, pixels) for keys in self._keys]
        self._placed = [self._place(turn) for turn in range(DRAWN)]

    def _place(self, turn: int) -> tuple[Draws, ...]:
        return self._drawn[turn].to(self._device)[0]

    def row(self, repeats: int) -> Row:
        """Time draws, copies and the application."""
        size = self._pixels
        draw = timed(
            self._taking_turns(lambda i: self._augmentation.draw(self._keys[i], size, size)),
            self._device,
            repeats,
        )
        copy = timed(self._taking_turns(self._place), self._device, repeats)
        apply = self._taking_turns(lambda i: self._augmentation.transform(self._images, self._placed[i]))
        applied, launched = timed(apply, self._device, repeats), launches(apply, self._device)
        return {
            "draw": draw.whole,
            "copy": copy.whole,
            "apply, host": applied.host,
            "apply": applied.whole,
            "busy": None if launched is None else launched.busy,
            "kernels": None if launched is None else launched.kernels,
        }

    def _taking_turns(self, call: Callable[[int], object]) -> Callable[[], object]:
        turns: Iterator[int] = count()
        return lambda: call(next(turns) % DRAWN)
