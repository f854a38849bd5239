"""A run's device and precision, random state, and memory allocation on CPUs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch

from trainer.config import Run
from trainer.errors import RunError
from trainer.parallel import World, check_ranks_device

# From glibc's malloc.h: no mmap for large blocks, and no trimming of the heap.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def choose_device(name: str, world: World) -> torch.device:
    """Return the device for ``name`` on this machine and rank; a GPU becomes torch's current device.

    Raises
    ------
    RunError
        If it isn't a device, or isn't available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RunError(f"device must be auto, cpu, cuda or cuda:N; got {name!r}") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise RunError(f"device must be auto, cpu, cuda or cuda:N; got {name!r}")
    check_ranks_device(name, world.size)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise RunError(f"device {name} needs a CUDA GPU and driver, and there is none; use --device cpu")
        index = world.local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise RunError(
                f"device must be one of this machine's {torch.cuda.device_count()} GPUs; got cuda:{index}"
            )
        device = torch.device("cuda", index)
        # The ledger's events are recorded on the current device's stream.
        torch.cuda.set_device(device)
    return device


def use_bf16(run: Run, device: torch.device) -> bool:
    """Return whether the forward pass runs under bf16 autocast.

    ``auto`` does if the device supports bf16 natively, without emulation: GPUs from Ampere on, CPUs with
    AVX-512 BF16 or AMX.
    """
    if run.precision != "auto":
        return run.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if not hasattr(torch.cpu, "get_capabilities"):
        # PyTorch before 2.11 has a separate function for each.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's random number generators, on the host and on ``device`` (for dropout)."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Restore torch's random number generators from a saved state.

    A state saved on a CPU has none for a GPU, whose generator then keeps the run's seed.
    """
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


def keep_freed_memory() -> None:
    """Make this process keep freed memory for its next allocations.

    Each step on a CPU frees and allocates the same large tensors. glibc returns blocks of that size to the
    system, and mapping them again costs one page fault per page: a tenth of a step or more. Does nothing with
    other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
