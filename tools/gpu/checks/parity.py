"""Every augmentation on the device against the CPU: equal, except for rounding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipeline import AUGMENTS, Augment
from pipeline.augment.randaugment import Randaugment
from pipeline.ops.memory import place_all
from pipeline.randomness import Keys
from tools.gpu.outcome import Outcome, Row, Setting

RESIZING = ("random_resized_crop", "center_crop", "ssl", "color_jitter", "multi")
"""Resizing and hue may differ by one level: CUDA fuses products and sums, and sums in another order."""

FLOAT_TOLERANCE = 2e-6

SHAPES = ((1, 32, 32), (97, 32, 32), (64, 28, 17), (40, 224, 224))
"""Images, height and width."""

SMOKE_SHAPES = ((5, 12, 9),)


def check(setting: Setting) -> Outcome:
    """Draw once for a batch, apply on both, compare pixel by pixel, and check the memory layout."""
    outcome, device = Outcome(), torch.device(setting.device)
    parts: dict[str, Augment] = {name: part() for name, part in AUGMENTS.items()}
    parts["randaugment, modern, 3"] = Randaugment(space="modern", operations=3)
    rows = []
    for name in setting.clock.cases(list(parts)):
        for shape in SMOKE_SHAPES if setting.smoke else SHAPES:
            row = _compare(name, parts[name], shape, device)
            rows.append(row)
            if not row["equal"]:
                outcome.problems.append(
                    f"{row['case']} differs by {row['most']:.3g}; at most {row['allowed']:.3g}"
                )
            if not row["channels_last"]:
                outcome.problems.append(f"{row['case']} is not channels_last on the device")
    outcome.facts["cases"] = len(rows)
    outcome.tables["Largest difference of a pixel, and fraction of pixels that differ"] = rows
    return outcome


def _compare(name: str, part: Augment, shape: tuple[int, int, int], device: torch.device) -> Row:
    count, height, width = shape
    images = _images(part, shape)
    drawn = part.draw(Keys(11, 2, 3, np.arange(count), np.arange(count) % 3), height, width)

    def applied(where: torch.device) -> Tensor:
        placed = place_all([array.copy() for array in drawn.values()], where)
        return part.apply(images.to(where), dict(zip(drawn, placed, strict=True)))

    host, there = applied(torch.device("cpu")), applied(device)
    off = (host.double() - there.cpu().double()).abs()
    allowed = FLOAT_TOLERANCE if part.domain == "float" else 1.0 if name in RESIZING else 0.0
    return {
        "case": f"{name}, {count} of {height} x {width}",
        "most": off.max().item(),
        "share": (off > 0).double().mean().item(),
        "allowed": allowed,
        "equal": bool(off.max().item() <= allowed),
        "channels_last": there.is_contiguous(memory_format=torch.channels_last),
    }


def _images(part: Augment, shape: tuple[int, int, int]) -> Tensor:
    rng = np.random.default_rng(shape[0])
    levels = torch.from_numpy(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).permute(0, 3, 1, 2)
    return levels.float() / 100 - 1 if part.domain == "float" else levels
