"""Blocks one after the other, whose activations may be recomputed in the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Blocks(nn.Sequential):
    """A sequence of blocks.

    Attributes
    ----------
    checkpointed
        Whether only the blocks' inputs are kept for the backward pass, which then recomputes the rest.
    """

    checkpointed = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Map by each block in turn."""
        if not (self.checkpointed and torch.is_grad_enabled()):
            found: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return found
        for block in self:
            input = checkpoint(block, input, use_reentrant=False)  # noqa: A001
        return input


class Checkpointed:
    """timm's verb for networks that have `Blocks`."""

    blocks: Blocks

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the blocks' inputs for the backward pass, or all activations."""
        self.blocks.checkpointed = enable
