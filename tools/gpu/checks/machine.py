"""Versions, and upper limits of this machine's rates."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import torch

from pipeline.ops.memory import place
from tools.gpu.outcome import Outcome, Row, Setting
from tools.gpu.timing import timed
from trainer.environment import environment

_GATHERED = 1024
"""Samples of 32 x 32 pixels in a gather, of 50,000."""


def check(setting: Setting) -> Outcome:
    """Record the environment, and time basic operations of the device."""
    device = torch.device(setting.device)
    outcome = Outcome({key: value for key, value in environment(device).items() if key != "command"})
    if setting.device == "cuda":
        _gpu(outcome, device)
    outcome.tables["Upper limits of the device's rates"] = _rates(setting, device)
    return outcome


def _gpu(outcome: Outcome, device: torch.device) -> None:
    properties = torch.cuda.get_device_properties(device)
    outcome.facts |= {
        "compute capability": f"{properties.major}.{properties.minor}",
        "GPU memory, GiB": properties.total_memory / 2**30,
        "multiprocessors": properties.multi_processor_count,
        "CUDA of torch": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "GPUs": torch.cuda.device_count(),
    }
    if shutil.which("nvidia-smi") is None:
        outcome.notes.append("nvidia-smi is not installed: driver and clocks are unknown")
        return
    fields = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,utilization.gpu"
    words = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "--id=0"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if told.returncode:
        outcome.notes.append(f"nvidia-smi ended with status {told.returncode}: {told.stderr.strip()[:200]}")
        return
    outcome.facts |= dict(zip(fields.split(","), told.stdout.strip().split(", "), strict=False))


def _rates(setting: Setting, device: torch.device) -> list[Row]:
    side, size = (64, 1 << 16) if setting.smoke else (8192, 1 << 28)
    repeats = 2 if setting.smoke else 20
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    b = torch.randn_like(a)
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    host = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    small = np.zeros(1024, np.int64)
    rows: list[Row] = []

    def add(operation: str, rate: float, unit: str) -> None:
        rows.append({"operation": operation, "rate": rate, "unit": unit})

    product = timed(lambda: a @ b, device, repeats).whole
    add(f"bf16 product of {side} x {side}", 2 * side**3 / product / 1e9, "TFLOP/s")
    add(
        "copy on the device",
        2 * size / timed(lambda: target.copy_(source), device, repeats).whole / 1e6,
        "GB/s",
    )
    moved = timed(lambda: target.copy_(host, non_blocking=True), device, repeats).whole
    add("copy from pinned memory", size / moved / 1e6, "GB/s")
    placed = timed(lambda: place(small, device), device, 10 * repeats)
    add("8 kB to the device, as parameters go", 1e3 * placed.whole, "µs")
    add("8 kB to the device, until launched", 1e3 * placed.host, "µs")
    store = source[: size // 3072 * 3072].view(-1, 3072)
    ids = torch.randint(0, len(store), (_GATHERED,), device=device)
    gathered = timed(lambda: torch.index_select(store, 0, ids), device, repeats).whole
    add("gather of 1,024 images of 32 pixels", _GATHERED / gathered / 1e3, "million images/s")
    return rows
