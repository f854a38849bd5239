"""Every selection chooses alike after a restart, and leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from selection_steps import candidates, go, pool, setting
from torch import Tensor

from trainer.selection import Candidates, SelectionConfig


def test_two_of_a_kind_choose_alike_and_leave_no_trace(part: SelectionConfig) -> None:
    first, second = part.build(setting()), part.build(setting())
    shown = candidates(part, pool(part))
    before = [tensor.clone() for tensor in _tensors(shown)]
    state = torch.get_rng_state()
    assert _same(go(part, first, range(12)), go(part, second, range(12)))
    first.choose(shown)
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(_tensors(shown), before, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def _tensors(shown: Candidates) -> list[Tensor]:
    return [
        tensor for tensor in (shown.images, shown.labels, shown.uniforms, shown.outputs) if tensor is not None
    ]


@pytest.mark.parametrize("stop", [1, 4, 5, 8, 11])
def test_a_resumed_selection_equals_an_uninterrupted_one(
    part: SelectionConfig, stop: int, tmp_path: Path
) -> None:
    whole = part.build(setting())
    expected = go(part, whole, range(14))
    stopped = part.build(setting())
    told = go(part, stopped, range(stop))
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    # What happens after a checkpoint doesn't reach into it.
    go(part, stopped, range(stop, 14))
    resumed = part.build(setting())
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert _same(expected, told + go(part, resumed, range(stop, 14)))
    assert _plain(whole.state_dict()) == _plain(resumed.state_dict())


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _plain(state: Mapping[str, Any]) -> str:
    return str({key: value.tolist() if isinstance(value, Tensor) else value for key, value in state.items()})


def test_a_saved_state_is_not_written_to_afterwards(part: SelectionConfig) -> None:
    selection = part.build(setting())
    go(part, selection, range(4))
    state = selection.state_dict()
    before = _plain(state)
    go(part, selection, range(4, 12))
    assert _plain(state) == before
