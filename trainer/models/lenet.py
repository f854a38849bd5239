"""LeNet: two convolutions and three linear layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.protocol import classifier

_GRID = 5
"""Side of the maps that the first linear layer reads, as 32 px leave it after both poolings."""


class LeNetNetwork(nn.Module):
    """Convolution and pooling twice, then linear layers of 120, 84 and ``classes`` outputs.

    Weights start from torch's own distributions.

    Parameters
    ----------
    classes
        Number of outputs; 0 for features.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * _GRID * _GRID, 120)
        self.fc2 = nn.Linear(120, 84)
        self.num_features = 84
        self.head = classifier(self.num_features, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the second convolution's maps, float[n, 16, 5, 5], of images [n, 3, H, W] from 16 px."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return x if x.shape[2:] == (_GRID, _GRID) else F.adaptive_avg_pool2d(x, _GRID)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return outputs, float[n, classes], of maps, or what the last layer reads, float[n, 84]."""
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        outputs: Tensor = x if pre_logits else self.head(x)
        return outputs

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs, float[n, classes], of images [n, 3, H, W]."""
        return self.forward_head(self.forward_features(images))


@dataclass(frozen=True)
class LeNet:
    """LeNet with ReLU and max-pooling, for 32 px, as the sample-importance paper trains it.

    After LeCun et al. (1998). Images of another size are pooled to the same 5x5 maps.
    """

    def build(self, classes: int) -> LeNetNetwork:
        """Make the network: see ``ModelConfig.build``."""
        return LeNetNetwork(classes)
