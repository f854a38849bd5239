"""The software and hardware environment of a run."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def environment(device: torch.device) -> dict[str, Any]:
    """Return the environment: versions, device, CPU and threads."""
    packages = ("budgetrain", "torch", "torchvision", "numpy", "numba", "ffcv")
    versions: dict[str, str | None] = {name: _version(name) for name in packages}
    versions["dali"] = _version("nvidia-dali-cuda130") or _version("nvidia-dali-cuda120")
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "command": shlex.join(["trainer", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


_COMPARED = ("budgetrain", "torch", "numpy", "numba", "ffcv", "dali", "cpu", "threads", "device", "gpu")
"""Entries that may change the last bits of a result."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return how an environment differs from the one in which a run began; None if it doesn't."""
    other = [key for key in _COMPARED if key in before and before[key] != now[key]]
    if not other:
        return None
    first, current = (", ".join(f"{key} {entries[key]}" for key in other) for entries in (before, now))
    return f"this run began with {first} and continues with {current}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
