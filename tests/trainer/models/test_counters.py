"""Batch normalization computes the same without its counter, and state dicts keep the counter's name."""

from __future__ import annotations

import copy

import torch
from torch import nn

from trainer.models import MODELS
from trainer.models.counters import drop_counters


def _batches() -> list[torch.Tensor]:
    return [torch.randn(4, 3, 8, 8) for _ in range(3)]


def test_outputs_and_statistics_are_those_of_layers_that_count() -> None:
    counting = MODELS["resnet8"](width=4).build(classes=3)  # type: ignore[call-arg]
    other = copy.deepcopy(counting)
    drop_counters(other)
    assert not any(name.endswith("num_batches_tracked") for name, _ in other.named_buffers())
    for images in _batches():
        assert torch.equal(counting(images), other(images))
    before, after = counting.state_dict(), other.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, after[name]), name


def test_states_are_exchanged_with_layers_that_count() -> None:
    counting = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    counting(torch.randn(4, 3, 8, 8))
    other = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    drop_counters(other)
    other.load_state_dict(counting.state_dict())
    assert other[1].num_batches_tracked is None
    assert int(other.state_dict()["1.num_batches_tracked"]) == 0
    fresh = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    fresh.load_state_dict(dict(other.state_dict()))
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(fresh.eval()(images), counting.eval()(images))


def test_a_layer_that_averages_by_its_counter_keeps_it() -> None:
    norm = nn.BatchNorm1d(3, momentum=None)
    drop_counters(norm)
    norm(torch.randn(4, 3))
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 1
