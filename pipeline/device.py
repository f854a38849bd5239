"""The device of batches: which one, streams of copies to it, and its clock."""

from __future__ import annotations

import torch

from pipeline.errors import DataError


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
