"""Choices of a run that no recipe describes: by its images and the machine, each with its reason.

| setting | small images | photographs on a CPU | photographs on a GPU |
|---|---|---|---|
| mode | gray where all are | the same | the same |
| stored size | as they are | at most 512 px, less if all must be in memory | the same; without FFCV squares |
| resolution | their own | 64 px, fine-tuning 128 | 224 px |
| augment | shift, flip | crops of 35% and more | of 8%; under 50,000 images TrivialAugment |
| model | ResNet-8, on a GPU ResNet-18 | ResNet-8 | ResNet-18, from 20,000 images or 100 classes -50 |

| setting | by | chosen |
|---|---|---|
| epochs | images, device | 400,000 images in all, 3 million on a GPU; fine-tuning 50,000, 500,000 |
| batch_size | images, memory | 128, fine-tuning 64; an eighth of the images, what memory holds, at most |
| optimizer | initial weights | SGD at 0.1 per 128 images; AdamW at 1e-4, for a classifier alone 1e-3 |
| engine | memory | resident where the decoded images fit, else FFCV |
| precision, compile | device | bf16 where it is native, fp16 on older GPUs; on GPUs |

Small images are of one shape, up to 64 px. An option of the command line takes the place of a choice; what
others must fit, a network and its initial weights, is a `Wish`. Choices depend on nothing else, so the same
command makes the same run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.conversion.convert import ConvertOptions
from pipeline.modes import PIXELS, Mode
from trainer.automatic.facts import SMALL, Images, Machine, Wish
from trainer.errors import RunError
from trainer.pretrained.normalization import per_channel

CAP = 512
"""Longest side at which photographs are stored: enough for crops at 224 px."""

PER_PIXEL = 5_000
"""Bytes that training takes per pixel of an image, at most: with the ResNet-18 that doesn't pool at first."""

_EPOCHS = {
    # (fine-tuning, GPU): images trained on in all, and the fewest and most epochs.
    (False, False): (400_000, 10, 100),
    (False, True): (3_000_000, 30, 300),
    (True, False): (50_000, 3, 20),
    (True, True): (500_000, 5, 50),
}
_EVALUATIONS = 30
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting of a recipe, as TOML has it, with what speaks for it."""

    setting: str
    value: Any
    reason: str


def storage(
    sides: Sequence[tuple[int, int]],
    samples: int,
    validation: float,
    machine: Machine,
    mode: Mode = "RGB",
) -> tuple[ConvertOptions, str]:
    """Return how images are stored, and why.

    Parameters
    ----------
    sides
        Heights and widths of some of them, in pixels.
    samples
        Number of all.
    validation
        Fraction to hold out.
    mode
        Mode to store them in.
    """
    stored = ConvertOptions(validation=validation, mode=mode)
    if len(set(sides)) == 1 and max(sides[0]) <= SMALL:
        return stored, "as they are, all of one small size"
    if machine.gpu is not None and "ffcv" not in machine.engines:
        side = 256
        reason = f"squares of {side} px: without FFCV a GPU holds images of one shape"
        return replace(stored, square=side), reason
    cap, reason = CAP, f"at most {CAP} px, of which crops of 224 px are taken"
    if "ffcv" not in machine.engines:
        # Bytes of one image whose longer side is 1, on average.
        each = PIXELS[mode].stride * float(np.mean([min(one) / max(one) for one in sides]))
        room = math.isqrt(int(0.4 * machine.memory / max(1, samples) / each))
        cap = max(96, min(CAP, room // 32 * 32))
        if cap < CAP:
            reason = (
                f"at most {cap} px, so that all fit into memory: FFCV, which isn't installed, reads larger"
            )
    if max(map(max, sides)) <= cap:
        return stored, f"as they are, none being over {cap} px"
    return replace(stored, max_resolution=cap), reason


def held_out(samples: int) -> float:
    """Return the fraction of the images to hold out for validation, where there is no test set."""
    return 0.2 if samples < 500 else 0.1


def choose(images: Images, machine: Machine, wish: Wish) -> tuple[Choice, ...]:
    """Return the settings of a run.

    Raises
    ------
    RunError
        When the images have nothing to learn.
    """
    if images.kind == "none":
        raise RunError(
            "images to train on must have classes, labels or values; these have none: arrange them as "
            "CLASS/IMAGE, or list them in a .csv"
        )
    if images.kind == "class" and images.outputs < 2:
        raise RunError(
            "images to train on must be of at least 2 classes; these are of one: arrange them as CLASS/IMAGE"
        )
    resolution, side = _resolution(images, machine, wish)
    network = _network(images, machine, wish)
    batch = _batch(images, machine, wish, side)
    return (
        *_targets(images),
        resolution,
        *network,
        *_augmentation(images, machine, wish, side),
        *_normalization(images, wish),
        *_length(images, machine, wish),
        batch,
        *_optimizer(wish, batch.value),
        _engine(images, machine),
        _precision(machine),
        *(
            [Choice("compile", True, f"steps on {machine.name} are faster compiled")]
            if machine.compiles
            else []
        ),
    )


def _targets(images: Images) -> list[Choice]:
    reason = f"the images have {'labels' if images.kind == 'multi_label' else 'values'}"
    if images.kind == "multi_label":
        return [Choice("method", "multi_label", reason), Choice("evaluator", ["multi_label"], reason)]
    if images.kind == "value":
        return [Choice("method", "regression", reason), Choice("evaluator", ["regression"], reason)]
    return []


def _resolution(images: Images, machine: Machine, wish: Wish) -> tuple[Choice, int]:
    """Return the choice of the resolution, and its side in pixels."""
    if wish.pixels is not None:
        reason = f"{wish.network or 'the network'} is made for images of {wish.pixels} px"
        return Choice("resolution", {"name": "constant", "pixels": wish.pixels}, reason), wish.pixels
    if images.small:
        assert images.shape is not None
        return Choice(
            "resolution", "constant", f"all images are {images.shape[1]}x{images.shape[0]} px"
        ), max(images.shape)
    most = 224 if machine.gpu is not None else 128 if wish.fine_tunes else 64
    side = max(32, min(most, images.shorter // 32 * 32))
    why = f"the usual size on {machine.name}" if side == most else "no more than the images have"
    said = f"{why}; their median shorter side is {images.shorter} px"
    return Choice("resolution", {"name": "constant", "pixels": side}, said), side


def _network(images: Images, machine: Machine, wish: Wish) -> list[Choice]:
    if wish.network is not None:
        return []
    many = images.outputs >= 100
    if machine.gpu is None:
        width = {"width": 32} if many else {}
        reason = (
            f"small enough for a CPU{f', and wide enough for {images.outputs:,} outputs' if many else ''}"
        )
        return [Choice("model", {"name": "resnet8", **width}, reason)]
    if images.small:
        return [Choice("model", "resnet18", "for small images, without pooling at first")]
    large = many or images.samples >= 20_000
    arch = "resnet50" if large else "resnet18"
    reason = (
        f"for {images.samples:,} images in {images.outputs:,} classes"
        if images.kind == "class"
        else (
            f"for {images.samples:,} images with {images.outputs:,} {images.kind.replace('_', ' ')} outputs"
        )
    )
    return [Choice("model", {"name": "torchvision", "arch": arch}, reason)]


def _augmentation(images: Images, machine: Machine, wish: Wish, side: int) -> list[Choice]:
    if images.small and wish.pixels is None:
        part = {"name": "standard", "padding": max(1, side // 8)}
        return [Choice("augment", [part], "small images are shifted and mirrored")]
    gentle = machine.gpu is None or wish.fine_tunes
    crop = {"name": "random_resized_crop", "scale": [0.35 if gentle else 0.08, 1.0]}
    why = "few epochs" if gentle and not wish.fine_tunes else "fine-tuning" if gentle else "a long training"
    reason = f"crops of {'35' if gentle else '8'}% of the area and more, for {why}"
    # TrivialAugment is of 8 bits.
    if not gentle and images.samples < 50_000 and images.mode != "I;16":
        more = f"{reason}; TrivialAugment, as {images.samples:,} images are few"
        return [Choice("augment", [crop, "trivialaugment_wide"], more)]
    return [Choice("augment", [crop], reason)]


def _normalization(images: Images, wish: Wish) -> list[Choice]:
    if wish.normalization is None:
        return []
    reason = "as the images were that the weights were trained on"
    mean, std = (per_channel(values, PIXELS[images.mode].channels) for values in wish.normalization)
    return [Choice("mean", list(mean), reason), Choice("std", list(std), reason)]


def _length(images: Images, machine: Machine, wish: Wish) -> list[Choice]:
    total, fewest, most = _EPOCHS[wish.fine_tunes, machine.gpu is not None]
    epochs = float(min(most, max(fewest, round(total / images.samples))))
    if wish.hours:
        return [
            Choice("epochs", epochs, "the full training that reports compare with: the hours bound the run")
        ]
    purpose = "fine-tuning" if wish.fine_tunes else "training from random weights"
    every = max(1, round(epochs / _EVALUATIONS))
    return [
        Choice(
            "epochs", epochs, f"{round(epochs * images.samples):,} images, for {purpose} on {machine.name}"
        ),
        Choice("budget", 1.0, "all of them; --budget 0.3 or --budget-hours 2 train for less"),
        Choice("evaluate_every", every, f"about {math.ceil(epochs / every)} evaluations in all"),
    ]


def _batch(images: Images, machine: Machine, wish: Wish, side: int) -> Choice:
    usual = 64 if wish.fine_tunes else 128
    limits = {
        usual: "the usual batch",
        max(8, images.samples // 8): f"an eighth of {images.samples:,} images, or 8",
        int(0.6 * machine.memory / (PER_PIXEL * side * side)): f"what {machine.memory / _GIB:.0f} GiB hold",
    }
    limit = min(limits)
    # A batch of two is the least that batch normalization takes; powers of two divide among ranks.
    batch = 2 ** max(1, limit.bit_length() - 1) if limit > 0 else 2
    return Choice("batch_size", min(batch, images.samples), limits[limit])


def _optimizer(wish: Wish, batch: int) -> list[Choice]:
    if wish.fine_tunes:
        rate = 1e-3 if wish.classifier else 1e-4
        reason = "for a classifier alone" if wish.classifier else "low, to keep what the weights have learned"
        part: Mapping[str, Any] = {"name": "adamw", "lr": rate, "weight_decay": 0.05}
        return [
            Choice("optimizer", part, reason),
            Choice("schedule", "warmup_cosine", "a new classifier's first gradients are large"),
        ]
    part = {"name": "sgd", "lr": float(f"{min(0.4, 0.1 * batch / 128):.2g}"), "weight_decay": 5e-4}
    return [
        Choice("optimizer", part, f"a rate of 0.1 per 128 images, for batches of {batch}"),
        Choice("schedule", "linear", "good at every budget (Li et al. 2020)"),
    ]


def _engine(images: Images, machine: Machine) -> Choice:
    decoded = PIXELS[images.mode].stride * images.pixels
    size = f"decoded, the images take {decoded / _GIB:.2g} of {machine.memory / _GIB:.0f} GiB"
    fits = decoded <= (0.4 if machine.gpu is None else 0.25) * machine.memory
    held = images.shape is not None or machine.gpu is None
    if fits and held:
        return Choice("engine", "resident", size)
    if "ffcv" in machine.engines:
        return Choice("engine", "ffcv", size if held else "a GPU holds images of one shape only")
    return Choice("engine", "resident", f"{size}, and FFCV, which reads from the disk, isn't installed")


def _precision(machine: Machine) -> Choice:
    # bf16 and fp32 are what "auto" comes to.
    value = "fp16" if machine.precision == "fp16" else "auto"
    return Choice("precision", value, f"{machine.precision}, the fastest on {machine.name}")
