"""The environment that a run's figures were measured in."""

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
    """What a figure of this run was measured with."""
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


TOLD = ("budgetrain", "torch", "numpy", "numba", "ffcv", "dali", "cpu", "threads", "device", "gpu")
"""What may change the last bits of a result."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say in what an environment differs from the one that a run began in; None where in nothing."""
    other = [key for key in TOLD if key in before and before[key] != now[key]]
    if not other:
        return None
    began, goes_on = (", ".join(f"{key} {told[key]}" for key in other) for told in (before, now))
    return f"this run began with {began} and goes on with {goes_on}"


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
