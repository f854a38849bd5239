"""Contract suite of selections' choices: indices of a batch, without waiting for the device."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from selection_steps import BATCH, candidates, setting, trained
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from pipeline import Batch
from trainer.methods import Losses
from trainer.selection import OwnNetwork, Selection, SelectionConfig, Weighting


def test_says_what_it_needs(part: SelectionConfig) -> None:
    assert part.ratio >= 1
    assert all(isinstance(trait, bool) for trait in (part.scores, part.features, part.exact, part.syncs))
    assert not part.features or part.scores
    assert part.exact or part.syncs
    assert not isinstance(part.build(setting()), Weighting) or part.ratio == 1


@pytest.mark.parametrize("n", [0, 1, 5, BATCH, BATCH + 1, 5 * BATCH])
def test_chooses_a_batch_of_places(part: SelectionConfig, n: int) -> None:
    selection = part.build(setting())
    for step in range(3):
        choice = selection.choose(candidates(part, n, step))
        places = choice.indices
        assert places.dtype == torch.int64
        assert places.ndim == 1
        assert ((places >= 0) & (places < n)).all()
        # Only what is weighed for it may be chosen twice.
        assert choice.weights is not None or len(places.unique()) == len(places)
        if part.ratio == 1:
            assert len(places) == n
        elif part.exact:
            assert len(places) == min(n, BATCH)
        if choice.weights is not None:
            assert choice.weights.dtype == torch.float32
            assert choice.weights.shape == places.shape
            assert (choice.weights > 0).all()
        selection.observe(*trained(step, len(places)), choice)


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("n", [1, BATCH, 5 * BATCH])
def test_choosing_never_waits_for_the_device(
    part: SelectionConfig, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On fake CUDA tensors .item(), a data-dependent shape and a tensor left on the host all raise."""
    if isinstance(part, OwnNetwork):
        pytest.skip(
            "a backward pass asks a driver even about fakes: test_waiting.py makes one on meta tensors"
        )
    # Fakes know no pinned memory, through which ids go to the device.
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    shown, count = candidates(part, n), n if part.ratio == 1 else min(n, BATCH)
    made = trained(0, count, 2)
    with FakeTensorMode(), torch.device("cuda"):
        selection = part.build(setting(torch.device("cuda")))
        on_device = _fake(shown)
        if not part.exact:
            with pytest.raises(DynamicOutputShapeException):
                selection.choose(on_device)
            return
        choice = selection.choose(on_device)
        assert choice.indices.device.type == "cuda"
        assert choice.indices.shape == (count,)
        losses, batch = map(_fake, made)
        selection.observe(losses, batch, choice)
        selection.observe(losses, batch, None)
        if isinstance(selection, Weighting):
            weights = selection.weigh(losses, batch)
            assert weights.device.type == "cuda"
            assert weights.shape == choice.indices.shape
        if part.syncs:
            with pytest.raises(DataDependentOutputException):
                _observe_on(selection, losses, batch)
        else:
            _observe_on(selection, losses, batch)


def _observe_on(selection: Selection, losses: Losses, batch: Batch) -> None:
    for _ in range(50):
        selection.observe(losses, batch, None)


def _fake(given: Any) -> Any:
    if isinstance(given, Tensor):
        return torch.empty(given.shape, dtype=given.dtype)
    if isinstance(given, dict):
        return {name: _fake(values) for name, values in given.items()}
    if isinstance(given, tuple):
        return tuple(_fake(values) for values in given)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        found = {item.name: _fake(getattr(given, item.name)) for item in dataclasses.fields(given)}
        return type(given)(**found)
    return given


@pytest.mark.usefixtures("fake_cuda")
def test_the_check_notices_a_wait() -> None:
    with FakeTensorMode(), torch.device("cuda"):
        with pytest.raises(DataDependentOutputException):
            torch.ones(3).sum().item()
        with pytest.raises(DynamicOutputShapeException):
            torch.ones(3).nonzero()


def test_is_on_within_its_schedule_alone(part: SelectionConfig) -> None:
    options = {item.name for item in dataclasses.fields(part)}  # type: ignore[arg-type]
    if "start" not in options:
        assert not any(part.build(setting()).on(step, step / 99) for step in range(100))
        return
    always = {"threshold": 0.0} if "threshold" in options else {}
    made = dataclasses.replace(part, start=0.2, end=0.8, interrupt=4, **always)  # type: ignore[type-var]
    selection = made.build(setting())
    expected = [20 <= step < 80 and step % 4 != 3 for step in range(101)]
    assert [selection.on(step, step / 100) for step in range(101)] == expected
    to_the_end = dataclasses.replace(made, end=1.0, interrupt=0).build(setting())  # type: ignore[type-var]
    assert [to_the_end.on(step, step / 100) for step in range(101)] == [step >= 20 for step in range(101)]
