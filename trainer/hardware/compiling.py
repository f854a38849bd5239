"""Compiled modules, and where their kernels are kept."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path

import torch
from torch import nn

_NAMES = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU part", "Features")
_OWN = re.compile(r"cpu-[0-9a-f]{12}")


def compiled_by_resolution(module: nn.Module) -> nn.Module:
    """Return ``module``, compiled by torch.compile for each size of its inputs as it comes.

    A graph for all sizes would be slower than one per resolution.
    """
    keep_kernels_by_processor()
    # It speaks of compilers on machines without a GPU, too, as it is first imported.
    logging.getLogger("torch.utils.cpp_extension").addFilter(_of_note)
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(module, dynamic=False)  # type: ignore[return-value]


def _of_note(record: logging.LogRecord) -> bool:
    """Return whether a message of PyTorch's is more than that this machine has no GPU."""
    return "No CUDA runtime is found" not in record.getMessage()


def keep_kernels_by_processor() -> Path:
    """Have this process keep compiled kernels in a folder of its processor's own; return the folder.

    PyTorch's cache does not ask for which processor a graph was generated: code for one width of vectors is
    then compiled for another, and writes past its buffers or gives NaN. A cache outlives the machine in
    container images and on network file systems. The folder lies in `TORCHINDUCTOR_CACHE_DIR`, or where
    PyTorch keeps its own.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    usual = Path(cache_dir())
    if _OWN.fullmatch(usual.name):
        usual = usual.parent
    own = usual / f"cpu-{_processor()}"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(own)
    own.mkdir(parents=True, exist_ok=True)
    return own


def _processor() -> str:
    """Return a digest of the instructions that this processor has, and of those that PyTorch uses."""
    about = [torch.backends.cpu.get_cpu_capability()]
    info = Path("/proc/cpuinfo")
    if info.exists():
        # The first core's: names, family and flags; its clock and its share of the work change.
        lines = (line.partition(":") for line in info.read_text().split("\n\n")[0].splitlines())
        named = {name.strip(): value.strip() for name, _, value in lines}
        about += [named.get(name, "") for name in _NAMES]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]
