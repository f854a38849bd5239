"""Devices by name, and the memory that a process keeps."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from trainer.device import choose_device, keep_freed_memory
from trainer.errors import RunError
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
def test_memory_that_was_freed_comes_without_new_pages() -> None:
    keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        # Beyond the 32 MB that glibc keeps by itself: 24,414 pages of 4 KB.
        torch.ones(25_000_000, dtype=torch.float32)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # The first may take the place of something smaller, and leave a hole that the second doesn't fit into.
    faults()
    faults()
    assert faults() < 1000
