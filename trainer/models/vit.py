"""A vision transformer without position weights: it takes images of any size that its patches divide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.models.blocks import Checkpointed, recomputed
from trainer.models.protocol import classifier

PATCH = 16
"""Side of a patch in pixels."""

Coordinates = Literal["rescaled", "integer"]

_FRAME = 14
"""Patches along a side of the frame that coordinates are rescaled to: 224 px."""

_TEMPERATURE = 10_000.0


def sincos_table(
    height: int, width: int, dim: int, coordinates: Coordinates, device: torch.device | None = None
) -> Tensor:
    """Return position codes of a grid of patches, float32[height * width, dim], row by row.

    Beyer, Zhai and Kolesnikov (2022), as in big_vision: of column w and row h, and with
    o_k = 10000^(-k / (dim / 4)) for k below dim / 4, the code is [sin(w o), cos(w o), sin(h o), cos(h o)].

    Parameters
    ----------
    dim
        A multiple of 4.
    coordinates
        "integer" counts patches; "rescaled" stretches each axis to 14 patches, so that a place in the picture
        has one code at every resolution.
    """
    steps = torch.arange(dim // 4, device=device, dtype=torch.float32)
    omega = _TEMPERATURE ** (-steps / (dim // 4))
    axes = []
    for side in (width, height):
        axis = torch.arange(side, device=device, dtype=torch.float32)
        angles = (axis * (_FRAME / side) if coordinates == "rescaled" else axis)[:, None] * omega
        axes.append(torch.cat((angles.sin(), angles.cos()), dim=1))
    columns = axes[0].expand(height, width, dim // 2)
    rows = axes[1][:, None].expand(height, width, dim // 2)
    return torch.cat((columns, rows), dim=2).reshape(height * width, dim)


class VisionTransformer(Checkpointed, nn.Module):
    """Patches, fixed position codes, pre-norm blocks, the mean over patches, tanh of a linear layer, a head.

    The simple ViT of Beyer, Zhai and Kolesnikov (2022): no class token, no dropout, no drop path. Weights of
    blocks start from Glorot's uniform distribution, biases at 0, the head at 0.

    Parameters
    ----------
    dim
        Width d of the tokens, a multiple of 4.
    depth, heads
        Number of blocks, and of attention heads in each.
    coordinates
        Of the position codes: see `sincos_table`.
    classes
        Number of outputs; 0 for features.
    """

    def __init__(self, dim: int, depth: int, heads: int, coordinates: Coordinates, classes: int) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.patches = nn.Conv2d(3, dim, PATCH, PATCH)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.representation = nn.Linear(dim, dim)
        self.num_features = dim
        self.head = classifier(dim, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return normalized tokens, float[n, patches, d], of images [n, 3, H, W].

        Raises
        ------
        RunError
            When 16 doesn't divide H and W.
        """
        height, width = x.shape[-2:]
        if height % PATCH or width % PATCH:
            raise RunError(
                f"images must have sides that {PATCH} divides; got {height}x{width}: train at "
                f"--resolution.pixels {max(1, round(min(height, width) / PATCH)) * PATCH}, or convert with "
                "--square"
            )
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        codes = sincos_table(
            height // PATCH, width // PATCH, self.num_features, self.coordinates, device=x.device
        )
        x = at_least_float32(tokens) + codes
        x = recomputed(self.blocks, x) if self.checkpointed else self.blocks(x)
        normalized: Tensor = self.norm(x)
        return normalized

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return outputs, float[n, classes], of tokens, or what the head reads, float[n, d]."""
        read = torch.tanh(self.representation(x.mean(dim=1)))
        outputs: Tensor = read if pre_logits else self.head(read)
        return outputs

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs, float[n, classes], of images [n, 3, H, W]."""
        return self.forward_head(self.forward_features(images))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalized before and added to its input."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [n, patches, d] to tokens of the same shape."""
        n, patches, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, patches, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.projection(attended.transpose(1, 2).reshape(n, patches, dim))
        sum_: Tensor = x + self.contract(F.gelu(self.expand(self.norm2(x))))
        return sum_


@dataclass(frozen=True)
class ViTS16:
    """ViT-S/16 with fixed sine-cosine positions, for images of any size that 16 divides.

    Beyer, Zhai and Kolesnikov (2022): 12 blocks of width 384 with 6 heads, the mean over patches, and a tanh
    layer before the head. As positions have no weights, it may train and score at several resolutions.
    """

    coordinates: Literal["rescaled", "integer"] = "rescaled"
    """Coordinates of the position codes. rescaled: a place in the picture has one code at every resolution.
    integer: patches are counted, as published; the same at 224 px."""

    def build(self, classes: int) -> VisionTransformer:
        """Make the network: see ``ModelConfig.build``."""
        return VisionTransformer(384, 12, 6, self.coordinates, classes)
