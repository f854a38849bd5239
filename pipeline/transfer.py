"""Host-to-device copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import DataError


def place(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device without waiting for it.

    For CUDA through pinned memory: PyTorch's pinned allocator reuses a block only after the copies issued
    from it are complete, so nothing has to be kept alive here. On the CPU the tensor shares the array's
    memory if that is writable.
    """
    tensor = torch.from_numpy(np.require(array, requirements=["C_CONTIGUOUS", "WRITEABLE"]))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def resolve_device(device: torch.device | str) -> torch.device:
    """Return the device with its index; "auto" is CUDA if available, else the CPU.

    With its index, because every thread has its own current CUDA device, initially 0.

    Raises
    ------
    DataError
        If there is no such device on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise DataError(f"device must be auto, cpu, cuda or cuda:N; got {device!r}") from None
    if resolved.type == "cpu" and resolved.index:
        raise DataError(f"device must be auto, cpu, cuda or cuda:N; got {str(device)!r}: there is only cpu")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise DataError(
            f"device must be cpu or one of this machine's {torch.cuda.device_count()} GPUs; "
            f"got {str(device)!r}"
        )
    if resolved == torch.device("cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    return resolved


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream for copies concurrent with training; None if the device isn't CUDA."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def timer() -> torch.cuda.Event:
    """Return a CUDA event with timing enabled."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
