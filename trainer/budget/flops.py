"""FLOPs of forward passes and of whole training steps, as torch counts them on the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from pipeline import Batch
from pipeline.targets import CLASSES, LABEL, TargetSpec
from trainer.budget.costs import Costs
from trainer.config import Run
from trainer.errors import RunError
from trainer.methods import Method
from trainer.models.channels import with_channels
from trainer.pretrained.freezing import freeze
from trainer.selection import OwnNetwork
from trainer.selection.helpers.base import Scored
from trainer.settings.fitting import outputs
from trainer.slots import SLOTS

BACKWARD = 2
"""FLOPs of a backward pass per FLOP of its forward pass: one product for the inputs, one for the weights."""


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs per image, keyed by image size.

    Attributes
    ----------
    forward
        FLOPs of the encoder's forward pass.
    step
        FLOPs of a step of the method per sample, including views, teachers, frozen modules and streams.
    scored
        FLOPs per scored image, where a selection scores by a network of its own.
    """

    forward: Mapping[int, int]
    step: Mapping[int, float]
    scored: Mapping[int, float] = field(default_factory=dict)

    def costs(self, full: int, charged: int = 0) -> Costs:
        """Return what passes cost relative to a step's at size ``full``; see `Costs` for ``charged``."""
        scored = {**self.forward, **self.scored}
        return Costs(
            train={pixels: count / self.step[full] for pixels, count in self.step.items()},
            charged=charged,
            forward={pixels: count / self.forward[full] for pixels, count in scored.items()},
            step_passes=self.step[full] / self.forward[full],
            forward_flops=self.forward[full],
        )


def flops_by_pixels(run: Run, spec: TargetSpec, full: int, batch_size: int, channels: int = 3) -> Flops:
    """Return the FLOPs at every resolution of training and scoring.

    Parameters
    ----------
    spec
        Targets of the training set.
    batch_size
        Samples per step of one rank.
    channels
        Of the images.

    Raises
    ------
    RunError
        When the model can't take images of a resolution.
    """
    part, trained = run.selection, {*run.resolution.stages(full), full}
    scored = {part.scoring_pixels(pixels) for pixels in trained} if isinstance(part, Scored) else set()
    with torch.device("meta"):
        network = with_channels(run.model.build(classes=outputs(run.method, spec)), channels)
        method = run.method.build(freeze(network, run.freeze))
    forward, step = {}, {}
    for pixels in trained | scored:
        try:
            forward[pixels] = forward_flops(method.encoder, pixels, channels)
        except RunError:
            raise
        except (RuntimeError, AssertionError, ValueError) as error:
            fault = " ".join(str(error).split()).rstrip(".")
            own = f"--model.image-size {pixels}, " if hasattr(run.model, "image_size") else ""
            raise RunError(
                f"model {SLOTS['model'].named(run)} must take images of {pixels} pixels; it can't "
                f"({fault}): give {own}another --resolution or model"
            ) from None
        # Batch normalization refuses a single image in training.
        count = max(2, batch_size)
        streams = {
            stream.name: meta_batch(stream.batch_size(count, 1), 1, pixels, spec, channels)
            for stream in run.streams
        }
        batch = meta_batch(count, run.method.views, pixels, spec, channels)
        step[pixels] = step_flops(method, batch, streams) / count
    return Flops(forward, step, _own_flops(run, spec, {at: forward[at] for at in scored}, channels))


def _own_flops(run: Run, spec: TargetSpec, network: Mapping[int, int], channels: int) -> dict[int, float]:
    """Return the FLOPs per candidate of a selection's own network, steps included, for each image size.

    Parameters
    ----------
    network
        FLOPs of a forward pass of the run's network, keyed by image size of scoring.

    Raises
    ------
    RunError
        When the selection's network is as large.
    """
    part = run.selection
    if not isinstance(part, OwnNetwork):
        return {}
    config = part.network_of(run.model)
    with torch.device("meta"):
        own = with_channels(config.build(outputs(run.method, spec)), channels)
    found = {}
    for pixels, whole in network.items():
        count = forward_flops(own, pixels, channels)
        if count >= whole:
            raise RunError(
                f"selection.model must be a smaller network than the run's, which takes {whole / 1e6:,.1f} "
                f"MFLOPs per image of {pixels} px; got {SLOTS['model'].part_name(config)} with "
                f"{count / 1e6:,.1f}: give --selection.width 0.25, or another --selection.model"
            )
        found[pixels] = count * part.passes
    return found


def forward_flops(model: nn.Module, pixels: int, channels: int = 3) -> int:
    """Return the FLOPs of a forward pass of one image in evaluation mode, as torch counts them.

    Parameters
    ----------
    model
        The model, on the meta device.
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


def step_flops(method: Method, batch: Batch, streams: Mapping[str, Batch] | None = None) -> int:
    """Return the FLOPs of a training step of ``method`` on batches, all on the meta device.

    An operation with gradients counts ``1 + BACKWARD`` times, as is usual, any other once (of a teacher, a
    frozen module). Strictly, an operation whose input needs no gradient, such as a network's first, has half
    the backward pass.
    """
    counter = _StepCounter()
    with counter:
        method(batch, **(streams or {}))
    return counter.flops


def meta_batch(count: int, views: int, pixels: int, spec: TargetSpec = CLASSES, channels: int = 3) -> Batch:
    """Return a batch on the meta device, as the loader's of plain images with targets of ``spec``."""
    with torch.device("meta"):
        images = torch.zeros(count, channels, pixels, pixels)
        targets = {}
        if spec.kind != "none":
            values = torch.from_numpy(np.empty(0, spec.dtype))
            targets[LABEL] = torch.zeros(count, *spec.row, dtype=values.dtype)
    return Batch(np.arange(count), (images,) * views, targets)


class _StepCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the FLOPs of a step during its forward pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            tracked = [
                one for one in (*args, *kwargs.values()) if isinstance(one, Tensor) and one.requires_grad
            ]
            graded = torch.is_grad_enabled() and bool(tracked)
            self.flops += (1 + BACKWARD * graded) * int(formula(*args, **kwargs, out_val=out))
        return out
