"""Further networks, for selections that are trained outside of a run."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from trainer.further import FurtherNetwork, MakeFurther
from trainer.methods import METHODS
from trainer.models import ModelConfig
from trainer.optimizers import OPTIMIZERS
from trainer.schedules import Linear


def maker(classes: int, device: torch.device, lr: float = 0.1) -> MakeFurther:
    """Return the maker of networks that SGD trains by cross-entropy."""

    def make(config: ModelConfig) -> FurtherNetwork:
        with device:
            network = config.build(classes)
        losses = METHODS["supervised"]().build(torch.nn.Identity()).losses
        optimizer = OPTIMIZERS["sgd"](lr=lr).build(tuple(network.named_parameters()))  # type: ignore[call-arg]
        return FurtherNetwork(network, network, losses, optimizer, Linear(), "momentum", nullcontext())

    return make
