"""Checkpoints hold what was put in, and are refused when damaged or of another version."""

from __future__ import annotations

import os
import resource
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from samplers import SAMPLERS, Feedback, Plan
from samplers.service import Service
from trainer import checkpoint
from trainer.errors import RunError

STATE = {
    "weights": torch.arange(6.0).reshape(2, 3),
    "sampler": {"ids": np.arange(5), "seen": np.array(6), "empty": np.empty(0, np.float32), "name": "p_sgd"},
    "order": None,
    "list": [1, 2.5, True, np.float64(0.5)],
}


def test_arrays_of_every_shape_and_type_come_back(tmp_path: Path) -> None:
    kinds = (np.bool_, np.uint8, np.int32, np.int64, np.uint64, np.float32, np.float64)
    arrays = {
        f"{kind.__name__}{shape}": np.ones(shape, kind) for kind in kinds for shape in ((), (3,), (2, 0))
    }
    checkpoint.save(tmp_path / "a.pt", {"arrays": arrays})
    restored = checkpoint.load(tmp_path / "a.pt")["arrays"]
    for name, array in arrays.items():
        assert restored[name].dtype == array.dtype
        assert restored[name].shape == array.shape
        np.testing.assert_array_equal(restored[name], array)


def test_a_state_comes_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", STATE)
    restored = checkpoint.load(tmp_path / "a.pt")
    assert torch.equal(restored["weights"], STATE["weights"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(restored["sampler"]["ids"], np.arange(5))
    assert int(restored["sampler"]["seen"]) == 6
    assert restored["sampler"]["name"] == "p_sgd"
    assert restored["order"] is None
    assert restored["list"] == [1, 2.5, True, 0.5]


def test_damage_and_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="isn't as it was written"):
        checkpoint.load(path)
    torch.save({"schema": 99}, path)
    with pytest.raises(RunError, match="written by another version"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_samplers_state_survives_a_checkpoint(name: str, tmp_path: Path) -> None:
    labels = np.arange(200) % 4
    plan = Plan(samples=200, epochs=50, budget=0.5, batch_size=16, seed=3, labels=labels)
    rng = np.random.default_rng(0)

    def go_on(sampler: Service, rounds: int) -> list[np.ndarray]:
        orders = []
        for _ in range(rounds):
            order = sampler.next_order()
            orders.append(order.ids)
            loss = rng.random(len(order.ids), dtype=np.float32)
            trained = np.ones(len(loss), np.bool_)
            sampler.observe(Feedback(sampler.plan.steps, order.ids, loss, np.exp(-loss), trained))
        return orders

    first = Service(SAMPLERS[name]().build(plan), plan)
    go_on(first, 12)
    checkpoint.save(tmp_path / "a.pt", {"sampler": first.state_dict()})
    second = Service(SAMPLERS[name]().build(plan), plan)
    second.load_state_dict(checkpoint.load(tmp_path / "a.pt")["sampler"])
    rest = first.rounds - 12
    rng = np.random.default_rng(1)
    expected = go_on(first, rest)
    rng = np.random.default_rng(1)
    for order, other in zip(expected, go_on(second, rest), strict=True):
        np.testing.assert_array_equal(order, other)


def test_a_checkpoint_that_the_machine_can_not_read_just_now_is_not_damaged(tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    for _ in range(2):
        checkpoint.save(last, STATE)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    # No file can be opened beside those that are open already.
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(RunError, match=r"last\.pt must be readable; it can't be read \(Too many") as told:
            checkpoint.newest(last)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not isinstance(told.value, checkpoint.DamagedError)


@pytest.mark.parametrize("body", [b"", b"no archive", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x80\x02K\x03."])
def test_a_whole_checkpoint_that_torch_can_not_load_is_told_in_one_line(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"budgetrain checkpoint, sha256 " + sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises(RunError, match=r"last\.pt is whole and can't be loaded \(") as told:
        checkpoint.newest(path)
    assert "\n" not in str(told.value)
