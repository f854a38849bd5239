"""Devices by name, and the memory that a process keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.parallel import World


@pytest.mark.parametrize("name", ["tpu", "mps", "cuda:x", ""])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="device must be auto, cpu, cuda or cuda:N; got"):
        choose_device(name, World())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_refused_with_the_remedy() -> None:
    with pytest.raises(RunError, match=r"device cuda needs a CUDA GPU .* use --device cpu"):
        choose_device("cuda", World())
    assert choose_device("auto", World()) == torch.device("cpu")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is set to keep freed memory")
def test_memory_that_was_freed_comes_without_new_pages() -> None:
    # In a process of its own: here, threads and refused allocations of other tests have left their marks.
    code = """
import resource
import torch
from trainer.hardware.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000)  # beyond the 32 MB that glibc keeps by itself: 24,414 pages of 4 KB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
print(min(faults() for _ in range(5)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000
