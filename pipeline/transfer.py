"""Small host arrays on their way to the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def place(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device without waiting for it.

    For CUDA through pinned memory: PyTorch's pinned allocator gives a block out again only once the copies
    that were issued from it are done, so nothing has to be kept alive here. On the CPU the tensor shares
    the array's memory where that may be written to.
    """
    tensor = torch.from_numpy(np.require(array, requirements=["C_CONTIGUOUS", "WRITEABLE"]))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
