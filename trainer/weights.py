"""Finiteness and digests of a method's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer.methods import Method


def named_state(method: Method) -> dict[str, Tensor]:
    """Return all weights and statistics by name: the encoder's by its own names, as if it were alone.

    A name that another part of the method also has keeps its prefix.
    """
    state = method.state_dict()
    short = {name: name.removeprefix("encoder.") for name in state}
    return {name if short[name] in state else short[name]: value for name, value in state.items()}


def evaluated(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the network of a run's checkpoint as it is evaluated: the encoder, or its weights' average.

    Parameters
    ----------
    checkpoint
        As `trainer.checkpoint.load` returns it.
    """
    if "average" in checkpoint:
        return dict(checkpoint["average"]["network"])
    prefix = "encoder."
    whole: Mapping[str, Tensor] = checkpoint["method"]
    return {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}


def not_finite(method: Method) -> str | None:
    """Return the name of the first weight or statistic that isn't finite; None if all are.

    Waits for the device once.
    """
    state = named_state(method)
    finite = {name: torch.isfinite(value).all() for name, value in state.items()}
    if torch.stack(list(finite.values())).all().item():
        return None
    return next(name for name, all_finite in finite.items() if not all_finite)


def fingerprint(method: Method, average: nn.Module | None = None) -> str:
    """Return the SHA-256 of all weights and statistics, in hexadecimal.

    That of a method which owns nothing but its encoder is that of the encoder.

    Parameters
    ----------
    average
        A network that holds averaged weights, which are a part of the digest.
    """
    digest = hashlib.sha256()
    state = named_state(method)
    if average is not None:
        state |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, value in sorted(state.items(), key=lambda item: item[0]):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
