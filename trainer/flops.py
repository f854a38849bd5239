"""FLOPs of forward passes, as torch counts them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainer.config import Run
from trainer.errors import RunError
from trainer.selection.helpers.schedule import Scored
from trainer.slots import SLOTS


def flops_by_pixels(run: Run, classes: int, full: int) -> Mapping[int, int]:
    """Return the FLOPs of one image's forward pass, by every resolution that the run trains or scores at.

    Raises
    ------
    RunError
        When the model can't take images of a resolution.
    """
    part, trained = run.selection, {*run.resolution.stages(full), full}
    scored = {part.scoring_pixels(pixels) for pixels in trained} if isinstance(part, Scored) else set()
    with torch.device("meta"):
        model = run.model.build(classes=classes)
    counts = {}
    for pixels in trained | scored:
        try:
            counts[pixels] = forward_flops(model, pixels)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise RunError(
                f"model {SLOTS['model'].named(run)} must take images of {pixels} pixels; it can't "
                f"({error}): "
                "give another --resolution or model"
            ) from None
    return counts


def forward_flops(model: nn.Module, pixels: int, channels: int = 3) -> int:
    """FLOPs of a forward pass of one image, as torch counts them.

    Parameters
    ----------
    model
        On the meta device, where a pass takes no time.
    """
    image = torch.zeros((1, channels, pixels, pixels), device="meta")
    training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(image)
    finally:
        model.train(training)
    return int(counter.get_total_flops())
