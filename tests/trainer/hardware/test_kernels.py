"""How a GPU computes is set by the run, and each of its faults is one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from trainer.config import Run
from trainer.errors import RunError
from trainer.hardware.faults import in_one_line
from trainer.hardware.kernels import check_precision, use_kernels, use_repeatable_kernels, use_tf32
from trainer.loop import train
from trainer.run_folder import RunFolder


@pytest.fixture
def kept() -> Iterator[None]:
    """Put torch's settings back as they were."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.deterministic, products.allow_tf32
    memory: Any = torch.utils.deterministic
    filled, workspace = memory.fill_uninitialized_memory, "CUBLAS_WORKSPACE_CONFIG"
    configured = os.environ.get(workspace)
    yield
    cudnn.allow_tf32, cudnn.deterministic, products.allow_tf32 = before
    torch.use_deterministic_algorithms(False)
    memory.fill_uninitialized_memory = filled
    if configured is None:
        os.environ.pop(workspace, None)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("precision", "allowed"),
    [("auto", True), ("fp16", True), ("tf32", True), ("fp32", False), ("fp64", False)],
)
def test_products_and_convolutions_are_rounded_alike(precision: str, allowed: bool) -> None:
    use_tf32(replace(Run(), precision=precision))  # type: ignore[arg-type]
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed


@pytest.mark.usefixtures("kept")
def test_repeatable_kernels_are_asked_for() -> None:
    use_repeatable_kernels()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    line = (
        r"precision bf16 needs a GPU of compute capability 8\.0 .*; Tesla T4 has 7\.5: "
        "give --precision fp16 or fp32"
    )
    with pytest.raises(RunError, match=line):
        check_precision(Run(precision="bf16"), (7, 5), "Tesla T4")
    check_precision(Run(precision="bf16"), (8, 0), "A100")
    check_precision(Run(precision="fp16"), (7, 5), "Tesla T4")
    with pytest.raises(RunError, match=r"tf32 needs an NVIDIA GPU.* got device cpu: give --precision fp32"):
        use_kernels(Run(precision="tf32"), torch.device("cpu"))


def test_a_device_without_memory_names_batch_micro_batches_and_engine(
    recipe: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recipe(batch_size=64, accumulate=4)

    def full(*given: object, **more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    monkeypatch.setattr("trainer.step.mixed_loss", full)
    with pytest.raises(RunError) as raised:
        train(run, RunFolder(run.runs_dir / "x", run))
    assert str(raised.value) == (
        "the device's memory must suffice for batches of 64 in 4 micro-batches and engine resident; there is "
        "no more to be had (CUDA out of memory): lower --batch-size, give --accumulate 8, "
        "--gradient-checkpointing or --engine ffcv, which keeps no images there"
    )


def test_an_operation_without_repeatable_kernels_is_named() -> None:
    said = "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you set ..."
    line = "deterministic needs kernels that repeat; grid_sampler_2d_backward_cuda has none on this device"
    with pytest.raises(RunError, match=line), in_one_line(Run()):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="else"), in_one_line(Run()):
        raise RuntimeError("something else")
