from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Augmentation, Batch, DataError, Loader, compose, open_dataset
from pipeline.augment.mixup import Mixup
from pipeline.augment.ricap import Ricap
from pipeline.augment.standard import Standard
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.crop import Crop
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import Beton
from pipeline.loading.prefetch import Prefetch
from pipeline.loading.request import checked
from pipeline.randomness import Keys, occurrences
from pipeline.resolution import Stage
from pipeline.sources import ArraySource

MEAN, STD = (0.3,) * 3, (0.35,) * 3


@dataclass(frozen=True)
class Order:
    ids: NDArray[np.int64]
    round: int = 0
    weights: NDArray[np.float32] | None = None


@pytest.fixture
def data(fashion: Path) -> Beton:
    return open_dataset(fashion / "fashion_mnist" / "train.beton")


@pytest.fixture
def jpegs(data: Beton, tmp_path: Path) -> Beton:
    """The same as JPEGs, which are worth a thread that reads ahead; raw images of this size aren't."""
    images = np.stack([data.image(index) for index in range(len(data))])
    source = ArraySource("jpegs", "train", "test", data.card.classes, data.labels, images)
    convert(source, tmp_path / "jpegs.beton", ConvertOptions(encoding="jpeg"))
    return open_dataset(tmp_path / "jpegs.beton")


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def mixing() -> Augmentation:
    return Augmentation([Standard(), Ricap(), Mixup(per_sample=True)], MEAN, STD)


def random_order(count: int, samples: int, round_: int = 0) -> Order:
    return Order(np.random.default_rng(count).integers(0, samples, count), round_)


def same(one: Batch, other: Batch) -> bool:
    assert one.mixture is not None
    assert other.mixture is not None
    assert one.cursor is not None
    assert other.cursor is not None
    names = ("device_partners", "device_coefficients")
    arrays = ("partners", "coefficients")
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.targets["label"], other.targets["label"])
        and all(torch.equal(getattr(one.mixture, name), getattr(other.mixture, name)) for name in names)
        and all(np.array_equal(getattr(one.mixture, name), getattr(other.mixture, name)) for name in arrays)
        and np.array_equal(one.ids, other.ids)  # type: ignore[arg-type]
        and (one.cursor.round, one.cursor.step) == (other.cursor.round, other.cursor.step)
    )


# --- What a batch holds --------------------------------------------------------------------------------


def test_a_plain_batch(data: Beton) -> None:
    order = random_order(50, len(data), 3)
    with Loader(data, batch_size=20, device="cpu") as loader:
        batches = list(loader.batches(order))
    assert [len(batch.ids) for batch in batches] == [20, 20, 10]
    for step, batch in enumerate(batches):
        ids = order.ids[step * 20 : step * 20 + 20]
        assert batch.cursor is not None
        assert (batch.cursor.round, batch.cursor.step) == (3, step)
        assert batch.ids.tolist() == ids.tolist()
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.images.permute(0, 2, 3, 1).numpy() == [data.image(int(index)) for index in ids]).all()
        assert batch.targets.keys() == {"label"}
        assert batch.targets["label"].tolist() == data.labels[ids].tolist()
        assert batch.mixture is None
        assert batch.weights is None
        assert len(batch.views) == 1


def test_a_batch_of_mixtures_names_its_constituents(data: Beton) -> None:
    order, augment = random_order(64, len(data), 5), mixing()
    counted = occurrences(order.ids)
    with Loader(data, batch_size=32, augment=augment, seed=9, device="cpu") as loader:
        for step, raw in enumerate(loader.raw_batches(order)):
            part = slice(step * 32, step * 32 + 32)
            keys = Keys(9, 5, step, order.ids[part], counted[part])
            drawn = augment.draw(keys, 28, 28)
            batch, mixture, (view,) = raw.augment(), raw.mixture, raw.views
            assert mixture is not None
            assert drawn.mixture is not None
            sources = raw.ids[mixture.partners]
            labels = batch.constituents(batch.targets["label"])
            assert sources.shape == labels.shape == mixture.coefficients.shape == (32, 8)
            assert (sources == order.ids[part][drawn.mixture.partners]).all()
            assert (labels.numpy() == data.labels[sources]).all()
            assert (mixture.device_partners.numpy() == drawn.mixture.partners).all()
            assert (mixture.device_coefficients.numpy() == drawn.mixture.coefficients).all()
            assert (mixture.coefficients == drawn.mixture.coefficients).all()
            for tensors, arrays in zip(view.draws, drawn.parts, strict=True):
                assert tensors.keys() == arrays.keys()
                assert all(np.array_equal(tensors[name].numpy(), arrays[name]) for name in arrays)
            assert batch.images.dtype == torch.float32
            assert torch.equal(batch.images, augment.transform(raw.images, view.draws))


def test_weights_go_with_their_samples(data: Beton) -> None:
    weights = np.random.default_rng(0).random(40).astype(np.float32)
    order = Order(np.arange(40), weights=weights)
    with Loader(data, batch_size=16, device="cpu") as loader:
        given_weights = [batch.weights for batch in loader.batches(order)]
    assert all(isinstance(tensor, Tensor) and tensor.dtype == torch.float32 for tensor in given_weights)
    assert torch.cat(given_weights).tolist() == weights.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("mixing", ["mixup", "cutmix", "ricap"])
def test_a_constituent_brings_its_own_weight_into_a_mixture(data: Beton, mixing: str) -> None:
    weights = np.random.default_rng(0).random(40).astype(np.float32)
    augment = compose([mixing], data.card.mean, data.card.std)
    with Loader(data, augment=augment, batch_size=40, device="cpu") as loader:
        (batch,) = loader.batches(Order(np.arange(40), weights=weights))
    assert batch.weights is not None
    assert batch.mixture is not None
    assert (batch.mixture.partners != np.arange(40)[:, None]).any()
    assert (batch.constituents(batch.weights).numpy() == weights[batch.mixture.partners]).all()


def test_a_batch_shares_no_memory_with_the_order(data: Beton) -> None:
    order, augment = Order(np.arange(8), weights=np.ones(8, np.float32)), compose(["mixup"], MEAN, STD)
    with Loader(data, augment=augment, batch_size=8, device="cpu") as loader:
        raw = next(loader.raw_batches(order))
    raw.ids[:] = 0
    assert raw.weights is not None
    assert raw.mixture is not None
    raw.weights.zero_()
    raw.mixture.device_coefficients.zero_()
    assert order.ids.tolist() == list(range(8))
    assert order.weights is not None
    assert order.weights.tolist() == [1.0] * 8
    assert np.allclose(raw.mixture.coefficients.sum(axis=1), 1)


def test_two_occurrences_in_a_round_are_drawn_apart(data: Beton) -> None:
    with Loader(data, batch_size=4, augment=compose(["standard"], MEAN, STD), device="cpu") as loader:
        drawn = [raw.views[0].draws[0] for raw in loader.raw_batches(Order(np.full(400, 7)))]
    places = torch.cat([one["top"] * 9 + one["left"] for one in drawn])
    assert len(set(places.tolist())) > 70


def test_the_number_of_threads_and_the_engine_change_nothing(data: Beton, no_thread_left: None) -> None:
    order = random_order(300, len(data))
    runs = []
    for engine in (ResidentEngine(), ResidentEngine(threads=3), FfcvEngine(), FfcvEngine(threads=3)):
        with Loader(data, engine=engine, batch_size=64, augment=mixing(), seed=1, device="cpu") as loader:
            runs.append(list(loader.batches(order)))
    for other in runs[1:]:
        assert len(other) == 5
        assert all(same(one, two) for one, two in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()])
def test_resumes_at_every_batch(data: Beton, engine: ResidentEngine | FfcvEngine) -> None:
    order = random_order(100, len(data), 2)
    with Loader(data, engine=engine, batch_size=16, augment=mixing(), device="cpu") as loader:
        whole = list(loader.batches(order))
        for start in range(8):
            rest = list(loader.batches(order, start=start))
            assert len(rest) == 7 - start
            assert all(same(one, two) for one, two in zip(whole[start:], rest, strict=True))


def test_another_seed_or_round_draws_anew(data: Beton) -> None:
    def tops(seed: int, round_: int) -> list[int]:
        augment = compose(["standard"], MEAN, STD)
        with Loader(data, batch_size=64, augment=augment, seed=seed, device="cpu") as loader:
            (view,) = next(loader.raw_batches(Order(np.arange(64), round_))).views
            return view.draws[0]["top"].tolist()  # type: ignore[no-any-return]

    assert tops(0, 0) == tops(0, 0)
    assert tops(0, 0) != tops(1, 0)
    assert tops(0, 0) != tops(0, 1)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()])
def test_a_gpu_gets_the_same_batches(data: Beton, engine: ResidentEngine | FfcvEngine) -> None:
    order, augment = random_order(300, len(data)), mixing()
    runs = []
    for device in ("cpu", "cuda"):
        with Loader(data, engine=engine, batch_size=64, augment=augment, device=device) as loader:
            runs.append(list(loader.batches(order)))
            torch.cuda.synchronize()
            assert (loader.times.copy > 0) == (device == "cuda")
    for host, gpu in zip(*runs, strict=True):
        assert gpu.mixture is not None
        assert host.mixture is not None
        labels = gpu.constituents(gpu.targets["label"])
        assert gpu.images.device.type == labels.device.type == "cuda"
        assert torch.allclose(host.images, gpu.images.cpu(), atol=1e-6)
        assert torch.equal(host.constituents(host.targets["label"]), labels.cpu())
        assert (host.mixture.partners == gpu.mixture.partners).all()


# --- Ranks ---------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 60))
def test_ranks_share_out_every_batch(world: int, local: int, count: int) -> None:
    """Checked on the slices alone, so that many sizes can be."""
    parts = []
    for rank in range(world):
        loader = object.__new__(Loader)
        loader.batch_size, loader.rank, loader.world_size = world * local, rank, world
        steps = -(-count // loader.batch_size)
        parts.append([loader._part(step, count) for step in range(steps)])
    flat = [
        index for step in zip(*parts, strict=True) for part in step for index in range(part.start, part.stop)
    ]
    assert flat == list(range(count))
    for step in zip(*parts, strict=True):
        sizes = [part.stop - part.start for part in step]
        assert max(sizes) - min(sizes) <= 1


def test_ranks_give_the_parts_of_the_global_batch(data: Beton) -> None:
    order, augment = random_order(70, len(data)), compose(["standard"], MEAN, STD)
    with Loader(data, batch_size=32, augment=augment, device="cpu") as alone:
        whole = [batch.images for batch in alone.batches(order)]
    parts: list[list[Tensor]] = []
    for rank in range(4):
        with Loader(data, batch_size=32, augment=augment, device="cpu", rank=rank, world_size=4) as loader:
            parts.append([batch.images for batch in loader.batches(order)])
    for step, images in enumerate(whole):
        assert torch.equal(torch.cat([part[step] for part in parts]), images)


# --- Mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"batch_size": 10, "world_size": 4}, "positive multiple of the 4 ranks; got 10"),
        ({"batch_size": 0}, "positive multiple of the 1 ranks; got 0"),
        (
            {"rank": 2, "world_size": 2, "batch_size": 8},
            r"rank must be in \[0, world_size\); got rank 2 of 2",
        ),
        ({"prefetch": 0}, "prefetch must be at least 1 batch; got 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_options_that_cannot_work_are_refused(data: Beton, options: dict[str, int], line: str) -> None:
    with pytest.raises(DataError, match=line):
        Loader(data, device="cpu", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "start", "line"),
    [
        (Order(np.array([0, 5000])), 0, "one of the 1,280 samples of .*train.beton.* got 5,000"),
        (Order(np.array([-1])), 0, "got -1"),
        (Order(np.array([0.5])), 0, "whole numbers in one dimension; got float64"),
        (Order(np.zeros((2, 2), np.int64)), 0, r"got int64 of shape \(2, 2\)"),
        (Order(np.arange(4), weights=np.ones(3, np.float32)), 0, r"match its 4 ids; got shape \(3,\)"),
        (Order(np.arange(4)), 3, r"start must be in \[0, 2\], the batches of this order; got 3"),
        (Order(np.arange(4)), -1, "got -1"),
    ],
)
def test_orders_that_cannot_work_are_refused_at_once(
    data: Beton, order: Order, start: int, line: str
) -> None:
    with Loader(data, batch_size=2, device="cpu") as loader, pytest.raises(DataError, match=line):
        loader.batches(order, start=start)


def test_an_empty_order_and_the_end_of_one_give_nothing(data: Beton) -> None:
    with Loader(data, batch_size=2, device="cpu", augment=mixing()) as loader:
        assert list(loader.batches(Order(np.array([], dtype=np.int64)))) == []
        assert list(loader.batches(Order(np.arange(4)), start=2)) == []


@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()])
def test_a_closed_loader_says_so(
    data: Beton, engine: ResidentEngine | FfcvEngine, no_thread_left: None
) -> None:
    loader = Loader(data, engine=engine, batch_size=2, device="cpu")
    loader.close()
    loader.close()
    with pytest.raises(DataError, match="a loader must be open to give batches; this one was closed"):
        loader.batches(Order(np.arange(4)))


@pytest.mark.parametrize("stored", ["data", "jpegs"])
def test_closing_a_loader_in_use_ends_its_iterations(
    stored: str, request: pytest.FixtureRequest, no_thread_left: None
) -> None:
    loader = Loader(request.getfixturevalue(stored), engine=FfcvEngine(), batch_size=2, device="cpu")
    iterator = loader.batches(Order(np.arange(1000)))
    next(iterator)
    loader.close()
    with pytest.raises(DataError, match="must stay open while its batches are used"):
        next(iterator)


# --- Threads -------------------------------------------------------------------------------------------


def test_reads_ahead_and_no_further_than_asked(data: Beton) -> None:
    seen: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            seen.append(number)
            yield number

    ahead = Prefetch(source(), 3, "test")
    assert next(ahead) == 0
    deadline = time.monotonic() + 600
    while len(seen) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    # Three are ready, and one more is in the thread's hand.
    assert seen == [0, 1, 2, 3, 4]
    assert list(ahead) == list(range(1, 100))
    ahead.close()


def test_an_exception_comes_after_the_items_before_it(no_thread_left: None) -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk is gone")

    ahead, taken = Prefetch(source(), 2, "test"), []
    for _ in range(5):
        taken.append(next(ahead))
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert taken == list(range(5))
    with pytest.raises(StopIteration):
        next(ahead)
    ahead.close()


def test_an_exception_in_the_loop_leaves_no_thread(jpegs: Beton, no_thread_left: None) -> None:
    loader = Loader(jpegs, engine=FfcvEngine(), batch_size=2, device="cpu")

    def train() -> None:
        for batch in loader.batches(Order(np.arange(1000))):
            raise RuntimeError(f"in step {batch.cursor.step}")

    with pytest.raises(RuntimeError, match="in step 0") as raised:
        train()
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
    assert raised.tb is not None
    loader.close()


def test_iterators_that_are_dropped_or_never_used_leave_no_thread(jpegs: Beton, no_thread_left: None) -> None:
    loader = Loader(jpegs, engine=FfcvEngine(), batch_size=2, device="cpu")
    loader.batches(Order(np.arange(1000)))
    used = loader.batches(Order(np.arange(1000)))
    next(used)
    cycle: list[object] = [used]
    cycle.append(cycle)
    del used, cycle
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
    loader.close()


def test_two_orders_at_once(jpegs: Beton, no_thread_left: None) -> None:
    with Loader(jpegs, engine=FfcvEngine(), batch_size=8, device="cpu") as loader:
        one, other = random_order(80, len(jpegs)), random_order(79, len(jpegs))
        pairs = list(zip(loader.batches(one), loader.batches(other), strict=True))
    assert [row for first, _ in pairs for row in first.ids] == one.ids.tolist()
    assert [row for _, second in pairs for row in second.ids] == other.ids.tolist()


@pytest.mark.parametrize("engine", ["FfcvEngine", "ResidentEngine"])
def test_ctrl_c_ends_the_process(data: Beton, engine: str) -> None:
    """Once in the loop's body, once while waiting for a batch: the process ends, and says what happened."""
    program = textwrap.dedent(
        f"""
        import signal, sys, threading, time, types
        import numpy as np
        from pipeline import Loader, open_dataset
        from pipeline.engines.ffcv import FfcvEngine
        from pipeline.engines.resident import ResidentEngine
        signal.signal(signal.SIGINT, signal.default_int_handler)
        data = open_dataset({str(data.path)!r})
        loader = Loader(data, engine={engine}(), batch_size=2, device="cpu")
        try:
            for batch in loader.batches(types.SimpleNamespace(round=0, ids=np.arange(1000), weights=None)):
                print("ready", flush=True)
                time.sleep(60)
        except KeyboardInterrupt:
            names = [thread.name for thread in threading.enumerate()]
            print("loader" in names, flush=True)
            raise
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert out == "False\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode in (1, -signal.SIGINT, 130)


@pytest.mark.parametrize(("engine", "error"), [("FfcvEngine", False), ("DaliEngine", True)])
def test_an_iterator_in_use_does_not_keep_the_process(jpegs: Beton, engine: str, error: bool) -> None:
    """Its thread has read all it was asked for, and waits for more when the interpreter exits."""
    name = engine.removesuffix("Engine").lower()
    pytest.importorskip({"ffcv": "ffcv", "dali": "nvidia.dali"}[name])
    program = textwrap.dedent(
        f"""
        import sys, time, types
        import numpy as np
        from pipeline import Loader, open_dataset
        from pipeline.engines.{name} import {engine}
        loader = Loader(open_dataset({str(jpegs.path)!r}), engine={engine}(1), batch_size=8, device="cpu")
        batches = loader.batches(types.SimpleNamespace(round=0, ids=np.arange(32), weights=None))
        next(batches)
        time.sleep(0.5)
        print("done", flush=True)
        if {error}:
            raise RuntimeError("in the training step")
        """
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert ended.stdout == "done\n"
    assert ended.stderr.rstrip().endswith("RuntimeError: in the training step") == error
    assert ended.returncode == int(error)


def test_memory_does_not_grow_with_rounds(data: Beton) -> None:
    """Fifty rounds leave as many tensors behind as one does."""

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    with Loader(data, engine=FfcvEngine(), batch_size=64, augment=mixing(), device="cpu") as loader:
        for _ in loader.batches(random_order(200, len(data))):
            pass
        before = tensors()
        for round_ in range(50):
            for _ in loader.batches(random_order(200, len(data), round_)):
                pass
        del _
        assert tensors() <= before


# --- Times ---------------------------------------------------------------------------------------------


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
    """With a device that only says it were CUDA."""
    seen: list[str] = []

    class Event:
        def record(self) -> None:
            seen.append("record")

    with Loader(data, engine=ResidentEngine(), batch_size=4, device="cpu") as loader:
        reader = loader._open()._full
        read = reader.read

        def reading(ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
            seen.append("read")
            return read(ids, crop)

        def placing(array: NDArray[Any], device: torch.device) -> Tensor:
            seen.append("place")
            return torch.from_numpy(array)

        loader.device = torch.device("cuda:0")
        monkeypatch.setattr(reader, "read", reading)
        monkeypatch.setattr("pipeline.loading.assembly.place", placing)
        monkeypatch.setattr("pipeline.loading.loader.timer", Event)
        monkeypatch.setattr(torch.cuda, "device", nullcontext)
        monkeypatch.setattr(torch.cuda, "stream", nullcontext)
        request = checked(Order(np.arange(4)), data, None, Stage())
        begun = loader._open().begin(request, 0, slice(0, 4))
        seen.clear()
        loader._end(begun, None)
    assert seen[:2] == ["read", "record"]
    assert seen[2:-1] == ["place"] * len(seen[2:-1])
    assert seen[-1] == "record"
