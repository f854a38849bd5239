"""Which device and precision a run computes in, and how it keeps its memory."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch

from trainer.config import Run
from trainer.errors import RunError
from trainer.parallel import World

# Of glibc's malloc.h: no blocks of their own from the system, and nothing given back to it.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def choose_device(name: str, world: World) -> torch.device:
    """The device that ``name`` means on this machine and rank; a GPU is torch's current one from then on.

    Raises
    ------
    RunError
        When it isn't a device, or isn't here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RunError(f"device must be auto, cpu, cuda or cuda:N; got {name!r}") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise RunError(f"device must be auto, cpu, cuda or cuda:N; got {name!r}")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise RunError(f"device {name} needs a CUDA GPU and driver, and there is none; use --device cpu")
        index = world.local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise RunError(
                f"device must be one of the {torch.cuda.device_count()} GPUs here; got cuda:{index}"
            )
        device = torch.device("cuda", index)
        # Events of the ledger are recorded on the current device's stream.
        torch.cuda.set_device(device)
    return device


def use_bf16(run: Run, device: torch.device) -> bool:
    """Whether the forward pass runs under bf16 autocast.

    ``auto`` takes it where the device computes in bf16 rather than emulating it: GPUs from Ampere on, CPUs
    with AVX-512 BF16 or AMX.
    """
    if run.precision != "auto":
        return run.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if not hasattr(torch.cpu, "get_capabilities"):
        # PyTorch before 2.11 has one question for each.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Give the state of torch's random numbers, on the host and on ``device``: what dropout goes by."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Go on with random numbers from a saved state.

    One that was saved on a CPU knows nothing of a GPU's numbers; those stay as the run's seed has set them.
    """
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for what it allocates next.

    A step on a CPU frees and allocates the same large tensors as the one before. glibc gives blocks of that
    size back to the system, whose pages then come anew, one fault each: a tenth of a step and more. Where the
    C library is another one nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
