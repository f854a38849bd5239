"""Benchmark of augmentations, draws included, against torchvision (per image) and kornia."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from pipeline.augment import AUGMENTS, Augment, Augmentation
from pipeline.augment.randaugment import Randaugment
from pipeline.device import resolve_device
from pipeline.ops.memory import place
from pipeline.randomness import Keys
from tools.arguments import UsageError
from tools.bench import measure
from tools.bench.clock import Clock

BATCHES = {32: 512, 96: 256, 224: 64}
"""Images per batch at each height and width."""

_MEAN, _STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


@dataclass(frozen=True)
class AugmentBench:
    """Rate of every augmentation, host draws included, against torchvision v2 (per image) and kornia.

    Cases are augment/NAME/PIXELS. RandAugment has the modern list, two operations and magnitude 9, on all
    sides. Mixup and cutout get images normalized beforehand. A peer without an equivalent of an augmentation
    has no row, nor has kornia if it isn't installed. Torchvision's mixup and cutmix take the whole batch at
    once, and kornia draws one operation per batch.
    """

    augment: tuple[str, ...] = tuple(name for name in AUGMENTS if name != "none")
    """Augmentations to measure."""

    pixels: tuple[int, ...] = tuple(BATCHES)
    """Height and width of the images: 32 (batches of 512), 96 (of 256) or 224 (of 64)."""

    repeats: int = 7
    """Measurements per case; medians are reported."""

    device: str = "auto"
    """Device of this project's augmentations, and of peers that take batches; others run on the CPU."""

    def __post_init__(self) -> None:
        for name, known, given in (("augment", AUGMENTS, self.augment), ("pixels", BATCHES, self.pixels)):
            for value in given:
                if value not in known:
                    raise UsageError(f"{name} must be of {', '.join(map(str, known))}; got {value}")

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Return one row per case and peer, in images per second."""
        if importlib.util.find_spec("kornia") is None:
            print("kornia is not installed: its rows are left out (pip install kornia)")
        clock = clock or Clock()
        cases = [f"{name}/{pixels}" for pixels in self.pixels for name in self.augment]
        rows = []
        for case in clock.cases(cases):
            name, _, pixels = case.rpartition("/")
            rows += self._rows(name, int(pixels), clock)
        return rows

    def _rows(self, name: str, pixels: int, clock: Clock) -> list[measure.Row]:
        images = photographs(BATCHES[pixels], pixels)
        device = resolve_device(self.device)
        works: dict[str | None, Callable[[], object]] = {None: ours(name, images.to(device))}
        works.update(peers(name, images, device))
        times = measure.interleave(list(works.values()), self.repeats, clock=clock)
        rates = dict(zip(works, (len(images) / seconds for seconds in times), strict=True))
        mine, case = rates.pop(None), f"augment/{name}/{pixels}"
        if not rates:
            return [measure.Row.compare(case, mine, "images/s")]
        return [measure.Row.compare(case, mine, "images/s", peer, theirs) for peer, theirs in rates.items()]


def photographs(count: int, pixels: int) -> Tensor:
    """Return smooth seeded images with some noise, uint8[count, 3, pixels, pixels], channels_last."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    pictures = np.stack(
        [
            np.asarray(Image.fromarray(one).resize((pixels, pixels), Image.Resampling.BICUBIC))
            for one in coarse
        ]
    )
    noise = rng.integers(-12, 13, pictures.shape)
    return torch.from_numpy((pictures + noise).clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)


def ours(name: str, images: Tensor) -> Callable[[], object]:
    """Return a call that draws a new batch's parameters, moves them to the device, and applies them."""
    part = part_of(name)
    augmentation = Augmentation([part], _MEAN, _STD)
    source = augmentation.normalize(images) if part.domain == "float" else images
    ids: NDArray[np.int64] = np.arange(len(images))
    occurrences = np.zeros_like(ids)
    step = 0

    def work() -> object:
        nonlocal step
        step += 1
        keys = Keys(0, step, step, ids, occurrences)
        drawn = augmentation.draw(keys, images.shape[2], images.shape[3]).parts[0]
        out = part.apply(source, {key: place(array, source.device) for key, array in drawn.items()})
        return finished(out)

    return work


def finished(out: Tensor) -> Tensor:
    """Wait until ``out`` is computed, and return it: CUDA calls are asynchronous."""
    if out.device.type == "cuda":
        torch.cuda.synchronize(out.device)
    return out


def part_of(name: str) -> Augment:
    """Return the augmentation with the same options as its peers."""
    if name == "randaugment":
        return Randaugment(operations=2, magnitude=9, space="modern")
    return AUGMENTS[name]()


def peers(name: str, images: Tensor, device: torch.device) -> Mapping[str, Callable[[], object]]:
    """Return the peers' calls that augment one batch of the same images, by name."""
    found: dict[str, Callable[[], object]] = {}
    batch = batch_transform(name, images.to(device))
    if batch is not None:
        found["torchvision-tensor"] = batch
    transform = torchvision_transform(name, images.shape[2])
    if transform is not None:
        rows = images.permute(0, 2, 3, 1).numpy()
        pictures = [Image.fromarray(one) for one in rows]
        tensors = list(images.contiguous())
        found["torchvision-pil"] = lambda: [transform(one) for one in pictures]
        found["torchvision-tensor"] = lambda: [transform(one) for one in tensors]
    korn = kornia_transform(name, images.shape[2])
    if korn is not None:
        floats = images.to(device).contiguous().to(torch.float32) / 255
        found["kornia"] = lambda: finished(korn(floats))
    return found


def torchvision_transform(name: str, pixels: int) -> Callable[[Any], object] | None:
    """Return the equivalent v2 transform of one image, if there is one."""
    crop = v2.RandomResizedCrop(pixels, antialias=True)
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    length = max(3, pixels // 10 | 1)
    blur = v2.RandomApply([v2.GaussianBlur(length, (0.1, 2.0))], p=0.5)
    flip = v2.RandomHorizontalFlip()
    known: dict[str, v2.Transform] = {
        "standard": v2.Compose([v2.RandomCrop(pixels, padding=4), flip]),
        "random_resized_crop": v2.Compose([crop, flip]),
        "center_crop": v2.Compose([v2.CenterCrop(round(0.875 * pixels)), v2.Resize((pixels, pixels))]),
        "randaugment": v2.RandAugment(2, 9),
        "autoaugment": v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        "trivialaugment_wide": v2.TrivialAugmentWide(),
        "color_jitter": jitter,
        "grayscale": v2.RandomGrayscale(0.2),
        "blur": blur,
        "solarize": v2.RandomSolarize(128, 0.2),
        "ssl": v2.Compose([crop, flip, jitter, v2.RandomGrayscale(0.2), blur, v2.RandomSolarize(128, 0.1)]),
    }
    return known.get(name)


def batch_transform(name: str, images: Tensor) -> Callable[[], object] | None:
    """Return torchvision's equivalent mixing of a whole batch, if there is one."""
    known: dict[str, v2.Transform] = {
        "mixup": v2.MixUp(alpha=0.3, num_classes=10),
        "cutmix": v2.CutMix(num_classes=10),
    }
    if name not in known:
        return None
    labels = torch.arange(len(images), device=images.device) % 10
    source = Augmentation((), _MEAN, _STD).normalize(images) if name == "mixup" else images
    return lambda: finished(known[name](source, labels)[0])


def kornia_transform(name: str, pixels: int) -> Callable[[Tensor], Tensor] | None:
    """Return kornia's equivalent transform of a batch of floats in [0, 1], if there is one installed."""
    if importlib.util.find_spec("kornia") is None:
        return None
    auto = importlib.import_module("kornia.augmentation.auto")
    plain = importlib.import_module("kornia.augmentation")
    length = max(3, pixels // 10 | 1)
    known: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
        "randaugment": lambda: auto.RandAugment(n=2, m=9),
        "autoaugment": lambda: auto.AutoAugment("cifar10"),
        "trivialaugment_wide": lambda: auto.TrivialAugment(),
        "random_resized_crop": lambda: plain.RandomResizedCrop((pixels, pixels)),
        "color_jitter": lambda: plain.ColorJiggle(0.4, 0.4, 0.4, 0.1, p=0.8),
        "grayscale": lambda: plain.RandomGrayscale(p=0.2),
        "blur": lambda: plain.RandomGaussianBlur((length, length), (0.1, 2.0), p=0.5),
        "solarize": lambda: plain.RandomSolarize(p=0.2),
    }
    return known[name]() if name in known else None
