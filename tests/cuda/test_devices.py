"""Devices by name, and memory that doesn't suffice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline import DataError, open_dataset
from pipeline.device import resolve_device, side_stream
from pipeline.engines.resident import ResidentEngine
from pipeline.ops.memory import ToHost
from trainer.config import Run
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.loop import train
from trainer.parallel import World
from trainer.run_folder import RunFolder


def test_a_gpu_is_named_with_and_without_its_number(gpu: torch.device) -> None:
    assert choose_device("auto", World()) == choose_device("cuda", World()) == torch.device("cuda", 0)
    assert choose_device("cuda:0", World()) == resolve_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(RunError, match=r"device must be one of this machine's \d+ GPUs; got cuda:99"):
        choose_device("cuda:99", World())
    with pytest.raises(DataError, match="GPUs; got 'cuda:99'"):
        resolve_device("cuda:99")


def test_tensors_come_to_the_host_as_they_were_when_they_were_sent(device: torch.device) -> None:
    """Beside the stream that goes on to change them, and lags."""
    stream = side_stream(device)
    assert (stream is None) == (device.type == "cpu")
    for round_ in range(20):
        values = torch.full((1 << 12,), float(round_), device=device)
        if device.type == "cuda":
            torch.cuda._sleep(1_000_000)
        sent = ToHost([values * 2, torch.arange(3, device=device)], stream)
        del values
        torch.full((1 << 12,), -1.0, device=device)
        doubled, numbers = sent.wait()
        assert doubled.device.type == numbers.device.type == "cpu"
        assert (doubled == 2 * round_).all()
        assert numbers.tolist() == [0, 1, 2]


def test_out_of_memory_is_one_line(gpu: torch.device, run_of: Callable[..., Run], tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3, gpu)
    try:
        run = run_of(gpu, model={"name": "resnet50", "width": 256}, batch_size=64)
        with pytest.raises(RunError, match=r"memory must suffice for batches of 64 and engine resident"):
            train(run, RunFolder(tmp_path / "x", run))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
        torch.cuda.empty_cache()


def test_memory_that_pytorch_has_cached_is_room_for_a_set(gpu: torch.device, tiny_directory: Path) -> None:
    free = torch.cuda.mem_get_info(gpu)[0]
    cached = torch.empty(int(0.9 * free), dtype=torch.uint8, device=gpu)
    del cached
    try:
        data = open_dataset(tiny_directory / "tiny" / "train.beton")
        reader = ResidentEngine().open(data, gpu)
        reader.close()
    finally:
        torch.cuda.empty_cache()
