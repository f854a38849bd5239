"""Batch normalization without its counter of batches, which nothing reads where the momentum is fixed."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_COUNTER = "num_batches_tracked"


def drop_counters(module: nn.Module) -> None:
    """Let batch normalizations count no batches: on a GPU each count is a kernel, 53 a step in a ResNet-50.

    State dicts keep the counters' names, as published weights have them, with 0 as their value; loaded ones
    are ignored. Layers whose momentum is None average by their counter, and keep it.
    """
    for norm in module.modules():
        if (
            isinstance(norm, _BatchNorm)
            and norm.momentum is not None
            and norm.num_batches_tracked is not None
        ):
            norm.num_batches_tracked = None
            norm._register_state_dict_hook(_named)  # type: ignore[no-untyped-call]
            norm.register_load_state_dict_pre_hook(_ignored)  # type: ignore[no-untyped-call]


def _named(norm: nn.Module, state: MutableMapping[str, Any], prefix: str, metadata: Any) -> None:
    assert isinstance(norm.running_mean, Tensor)
    state[prefix + _COUNTER] = norm.running_mean.new_zeros((), dtype=torch.int64)


def _ignored(norm: nn.Module, state: MutableMapping[str, Any], prefix: str, *rest: Any) -> None:
    state.pop(prefix + _COUNTER, None)
