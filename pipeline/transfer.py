"""The way from the host to the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import DataError


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


def resolve_device(device: torch.device | str) -> torch.device:
    """Name the device in full; "auto" is CUDA where there is one, else the CPU.

    With its number, because every thread has a current CUDA device of its own, which at first is 0.

    Raises
    ------
    DataError
        When there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise DataError(f"device must be auto, cpu, cuda or cuda:N; got {device!r}") from None
    if resolved.type == "cpu" and resolved.index:
        raise DataError(f"device must be auto, cpu, cuda or cuda:N; got {str(device)!r}: there is one cpu")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise DataError(
            f"device must be one of the {torch.cuda.device_count()} GPUs here, or cpu; got {str(device)!r}"
        )
    if resolved == torch.device("cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    return resolved


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Make a stream for copies beside the training; None where the device isn't CUDA."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def timer() -> torch.cuda.Event:
    """Make an event that takes the time."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
