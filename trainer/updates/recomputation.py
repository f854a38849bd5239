"""Gradient checkpointing: activations of blocks recomputed in the backward pass, to save memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.errors import RunError


def checkpoint_gradients(network: nn.Module, name: str) -> None:
    """Let a network keep only the inputs of its blocks for the backward pass (Chen et al. 2016).

    Parameters
    ----------
    name
        What the message calls it.

    Raises
    ------
    RunError
        When it lacks timm's verb for this.
    """
    enable: Callable[[bool], object] | None = getattr(network, "set_grad_checkpointing", None)
    if enable is None:
        raise RunError(
            f"gradient_checkpointing needs a network with set_grad_checkpointing, as ResNets, ViT-S/16 and "
            f"timm's have it; model {name} lacks it: take another --model, or leave it out"
        )
    enable(True)


class Recomputation:
    """A context of backward passes in which batch normalization gathers no statistics.

    A block's second forward pass would count its images twice. Momentum 0 leaves statistics as they are, bit
    for bit.

    Parameters
    ----------
    network
        Whose blocks are recomputed.
    """

    def __init__(self, network: nn.Module) -> None:
        self._norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Return the context of one backward pass."""
        before = [(norm.momentum, norm._buffers.get("num_batches_tracked")) for norm in self._norms]
        for norm in self._norms:
            norm.momentum = 0.0
            norm._buffers["num_batches_tracked"] = None
        try:
            yield
        finally:
            for norm, (momentum, counted) in zip(self._norms, before, strict=True):
                norm.momentum = momentum
                norm._buffers["num_batches_tracked"] = counted
