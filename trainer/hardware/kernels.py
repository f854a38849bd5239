"""Which kernels a CUDA device computes with: how fast they are, how exact, and whether they repeat."""

from __future__ import annotations

import os
import sys

import torch

from trainer.config import Run
from trainer.errors import RunError

_SWITCH = 5e-4
"""Seconds after which a thread hands Python over: the loader's must not hold up the one that launches."""


def use_kernels(run: Run, device: torch.device) -> None:
    """Set for this process how a CUDA device computes what ``run`` trains; does nothing on a CPU.

    Raises
    ------
    RunError
        When the device can't compute in the run's precision.
    """
    if device.type != "cuda":
        if run.precision == "tf32":
            raise RunError(
                f"tf32 needs an NVIDIA GPU from Ampere on; got device {device}: give --precision fp32"
            )
        return
    check_precision(run, torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device))
    use_tf32(run)
    # Shapes are few, one per resolution, and the warm-up meets all of them.
    torch.backends.cudnn.benchmark = not run.deterministic
    if run.deterministic:
        use_repeatable_kernels()
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH))


def check_precision(run: Run, capability: tuple[int, int], name: str) -> None:
    """Refuse a precision that a GPU doesn't compute in.

    Parameters
    ----------
    capability
        Its compute capability: (8, 0) is Ampere.

    Raises
    ------
    RunError
        With the precisions that it has.
    """
    if run.precision in ("bf16", "tf32") and capability < (8, 0):
        raise RunError(
            f"precision {run.precision} needs a GPU of compute capability 8.0 or above (Ampere); {name} has "
            f"{capability[0]}.{capability[1]}: give --precision fp16 or fp32"
        )


def use_tf32(run: Run) -> None:
    """Let matrix products and convolutions of float32 be TF32 unless the run's precision says float32.

    PyTorch's own defaults differ: convolutions are, products are not.
    """
    allowed = run.precision not in ("fp32", "fp64")
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def use_repeatable_kernels() -> None:
    """Take only kernels whose sums have one order, for the rest of this process."""
    # Read by cuBLAS when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True)
    # Memory that isn't written yet is not read here: filling it would cost a pass over every result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
