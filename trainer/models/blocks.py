"""Blocks one after the other, whose activations may be recomputed in the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Checkpointed:
    """timm's verb, for networks that map by blocks.

    Attributes
    ----------
    checkpointed
        Whether to map by `recomputed`, not by the blocks themselves.
    """

    checkpointed = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the blocks' inputs for the backward pass, or all activations."""
        self.checkpointed = enable


def recomputed(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """Map by each block in turn, keeping only the inputs of blocks for the backward pass."""
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False) if torch.is_grad_enabled() else block(x)
    return x
