"""Times of a call on the host and on the device, and the kernels that it launches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tools.profiling.timing import wait_for


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds per call.

    Attributes
    ----------
    host
        Until all calls have returned; launched kernels may still be running.
    whole
        Until the device has completed them.
    """

    host: float
    whole: float


@dataclass(frozen=True, slots=True)
class Launches:
    """Kernels and copies that one call launches on a CUDA device.

    Attributes
    ----------
    kernels, copies
        Counts.
    busy
        Milliseconds that the device is busy with them.
    longest
        Names of the kernels with the most total time, longest first.
    """

    kernels: int
    copies: int
    busy: float
    longest: tuple[str, ...]


def timed(call: Callable[[], object], device: torch.device, repeats: int, warmup: int = 3) -> Times:
    """Time ``repeats`` calls in a row, from an idle device to an idle device."""
    for _ in range(warmup):
        call()
    wait_for(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    host = time.perf_counter() - begin
    wait_for(device)
    return Times(1e3 * host / repeats, 1e3 * (time.perf_counter() - begin) / repeats)


def launches(call: Callable[[], object], device: torch.device) -> Launches | None:
    """Return the launches of a call; None if the device isn't CUDA."""
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    call()
    wait_for(device)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        call()
        wait_for(device)
    on_device: list[Any] = [row for row in seen.key_averages() if row.device_type.name == "CUDA"]
    on_device.sort(key=lambda row: -row.self_device_time_total)
    copies = sum(row.count for row in on_device if "Memcpy" in row.key)
    return Launches(
        kernels=sum(row.count for row in on_device) - copies,
        copies=copies,
        busy=sum(row.self_device_time_total for row in on_device) / 1e3,
        longest=tuple(row.key[:70] for row in on_device[:3]),
    )
