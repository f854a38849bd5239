"""Compiled kernels are kept by processor: one that another kind of CPU left is never run."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.hardware.compiling import compiled_by_resolution, keep_kernels_by_processor


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_processor_has_a_folder_of_its_own_within_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = keep_kernels_by_processor()
    assert own.is_dir()
    assert own.parent == cache
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(own)
    # A child process, or a second run, inherits the folder and doesn't nest another.
    assert keep_kernels_by_processor() == own
    # Another width of vectors, as ATEN_CPU_CAPABILITY or another machine brings it.
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    other = keep_kernels_by_processor()
    assert other != own
    assert other.parent == cache


PROGRAM = """
import torch
from torch import nn
from trainer.hardware.compiling import compiled_by_resolution

class Losses(nn.Module):
    def forward(self, logits):
        return (torch.log_softmax(logits, 1) * logits.exp()).sum(1)

logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
torch.testing.assert_close(compiled_by_resolution(Losses())(logits), Losses()(logits))
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_graphs_of_narrower_vectors_are_not_run_with_wider_ones(cache: Path) -> None:
    # With one cache for both, the second process computes NaN, or dies of a damaged heap.
    for capability in ("avx2", None):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability or ""}
        if capability is None:
            del environment["ATEN_CPU_CAPABILITY"]
        subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment, timeout=300)


def test_that_there_is_no_gpu_is_not_told_of(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    compiled_by_resolution(nn.Identity())
    logger = logging.getLogger("torch.utils.cpp_extension")
    with caplog.at_level(logging.WARNING, logger.name):
        # Filters of a logger hold for what is logged through it, as PyTorch does.
        logger.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr/local")
        logger.warning("a compiler is too old")
    assert "CUDA" not in caplog.text
    assert "too old" in caplog.text
