"""A loader's figures in anybody's loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from loader_orders import Order

from pipeline import DataError, Loader, open_dataset, profile
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.resident import ResidentEngine
from pipeline.recording import MOST_SPANS, Recorder


@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()], ids=["resident", "ffcv"])
def test_a_loop_of_ones_own_is_profiled(
    tiny: Callable[..., Path], tmp_path: Path, engine: ResidentEngine | FfcvEngine
) -> None:
    if isinstance(engine, FfcvEngine):
        pytest.importorskip("ffcv")
    with Loader(open_dataset(tiny()), engine=engine, batch_size=32, device="cpu") as loader:
        with profile(loader) as profiled:
            for _ in loader.batches(Order(np.arange(128))):
                time.sleep(0.005)
        profiled.save(tmp_path / "profile.json")
        # What comes after isn't recorded.
        list(loader.batches(Order(np.arange(128))))
        assert profiled.figures()["batches"] == 4
    figures = json.loads((tmp_path / "profile.json").read_text())
    assert (figures["kind"], figures["batches"], figures["batch_size"]) == ("loader", 4, 32)
    assert figures["seconds"] >= 4 * 0.005
    assert 0 < figures["wait"] <= figures["seconds"] - 4 * 0.005
    assert set(figures["loading_seconds"]) == {"draw", "read", "place"}
    assert len(figures["steps"]) == 3
    assert min(figures["steps"]) >= 0.005
    lanes = {lane for lane, *_ in figures["timeline"]}
    assert lanes == {"loader", "consumer"}
    for _, _, begin, end, number in figures["timeline"]:
        assert 0 <= begin <= end <= figures["seconds"]
        assert number in range(4)


def test_a_profile_needs_batches(tiny: Callable[..., Path]) -> None:
    with Loader(open_dataset(tiny()), batch_size=32, device="cpu") as loader, profile(loader) as profiled:
        pass
    with pytest.raises(DataError, match="must give batches while it is profiled; none was taken"):
        profiled.figures()


def test_a_recording_is_bounded() -> None:
    recorder = Recorder()
    recorder.step = 3
    for _ in range(MOST_SPANS + 2):
        recorder.add("host", "forward", 1.0, 2.0)
    recorder.add("loader", "read", 1.0, 2.0, 7)
    assert (len(recorder.spans), recorder.dropped) == (MOST_SPANS, 3)
    assert recorder.rows(0.5)[0] == ["host", "forward", 0.5, 1.5, 3]
