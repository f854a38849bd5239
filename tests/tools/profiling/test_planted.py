"""A bottleneck that is planted in the real pipeline, at least fivefold, is the one that is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import Sleepy, SlowSource, profiled

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines import ENGINES
from pipeline.sources import ArraySource
from samplers import SAMPLERS
from tools.profiling.sentences import sentence


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_slow_source(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "slow", SlowSource)
    found = profiled(fashion, tmp_path, engine="slow").measured
    assert found.bottleneck == "disk", found
    assert found.gain > 0.5
    assert "waits for the disk" in sentence(found)
    assert "--engine resident" in sentence(found)


def test_one_thread_for_decoding(tmp_path: Path) -> None:
    pytest.importorskip("ffcv")
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "large"
    folder.mkdir(parents=True)
    images = rng.integers(0, 256, (16, 512, 512, 3), dtype=np.uint8)
    for split in ("train", "test"):
        shown = images[np.arange(64) % 16]
        source = ArraySource("large", split, "noise", ("a", "b"), np.arange(64) % 2, shown)
        convert(source, folder / f"{split}.beton", ConvertOptions(encoding="jpeg"))
    found = profiled(
        tmp_path / "data",
        tmp_path,
        data="large",
        engine={"name": "ffcv", "threads": 1, "exact": True},
        augment="random_resized_crop",
        resolution={"name": "constant", "pixels": 32},
    ).measured
    assert found.bottleneck == "decoding", found
    assert found.gain > 0.5
    assert "waits for JPEG decoding" in sentence(found)
    assert "--engine.threads" in sentence(found)


def test_a_sampler_that_sleeps(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLERS, "sleepy", Sleepy)
    found = profiled(fashion, tmp_path, sampler="sleepy", epochs=1, budget=1.0, round_length=0.05).measured
    assert found.bottleneck == "sampler", found
    assert found.gain > 0.5
    assert "sleepy's orders" in sentence(found)
    assert "--service process" in sentence(found)


def test_a_large_randaugment(fashion: Path, tmp_path: Path) -> None:
    found = profiled(
        fashion, tmp_path, augment=["standard", {"name": "randaugment", "operations": 40}]
    ).measured
    assert found.bottleneck == "augmentation", found
    assert found.gain > 0.5
    assert "most of that randaugment" in sentence(found)


def test_a_network_ten_times_wider(fashion: Path, tmp_path: Path) -> None:
    found = profiled(fashion, tmp_path, model={"name": "resnet8", "width": 64}, augment="none").measured
    assert found.bottleneck in ("network", "memory"), found
    assert "bound by the network" in sentence(found) or "the network takes" in sentence(found)
