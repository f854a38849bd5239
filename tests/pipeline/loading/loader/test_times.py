"""A loader's times of waiting and copying."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from loader_orders import Order
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Loader
from pipeline.crop import Crop
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import Beton
from pipeline.resolution import Stage


@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()])
def test_waiting_is_counted_and_the_loop_is_not(data: Beton, engine: ResidentEngine | FfcvEngine) -> None:
    with Loader(data, engine=engine, batch_size=64, device="cpu") as loader:
        assert (loader.times.wait, loader.times.copy) == (0.0, 0.0)
        begin = time.perf_counter()
        slept = 0.0
        for _ in loader.batches(Order(np.arange(640))):
            pause = time.perf_counter()
            time.sleep(0.01)
            slept += time.perf_counter() - pause
        total = time.perf_counter() - begin
        assert 0 < loader.times.wait <= total - slept
        assert loader.times.copy == 0.0


def test_copying_is_timed_from_when_the_images_are_read(data: Beton, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, as if it were CUDA."""
    seen: list[str] = []

    class Event:
        def record(self) -> None:
            seen.append("record")

    with Loader(data, engine=ResidentEngine(), batch_size=4, device="cpu") as loader:
        spec = loader._open().spec(None, Stage())
        reader = spec.reader
        read = reader.read

        def reading(ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
            seen.append("read")
            return read(ids, crop)

        def placing(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
            seen.append("place")
            return [torch.from_numpy(array) for array in arrays]

        assembly = loader._assembly
        assembly._times_copies = True
        monkeypatch.setattr(reader, "read", reading)
        monkeypatch.setattr("pipeline.loading.assembly.place_all", placing)
        monkeypatch.setattr("pipeline.loading.assembly.timer", Event)
        monkeypatch.setattr(torch.cuda, "device", nullcontext)
        monkeypatch.setattr(torch.cuda, "stream", nullcontext)
        begun = assembly._begin_step(loader._checked(Order(np.arange(4)), spec), 0)
        seen.clear()
        assembly._end(begun, None)
    assert seen[:2] == ["read", "record"]
    assert seen[2:] == ["place", "record"]


def test_a_loaders_orders_share_one_stream(data: Beton, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's allocator keeps memory by stream: one per order would leave 32 orders' batches reserved."""
    made: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or len(made))
    with Loader(data, batch_size=4, device="cpu") as loader:
        assembly = loader._assembly
        assembly._device = torch.device("cuda", 0)
        assert [assembly.stream, assembly.stream] == [1, 1]
    assert made == [torch.device("cuda", 0)]
