"""Whether a method's weights are finite, and whether they are another's."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from trainer.methods import Method


def named_state(method: Method) -> dict[str, Tensor]:
    """Return all weights and statistics by name: the encoder's by its own names, as if it were alone.

    A name that another part of the method has as well keeps its prefix.
    """
    state = method.state_dict()
    short = {name: name.removeprefix("encoder.") for name in state}
    return {name if short[name] in state else short[name]: value for name, value in state.items()}


def not_finite(method: Method) -> str | None:
    """Return the name of the first weight or statistic that isn't finite; None where all are.

    Waits for the device once.
    """
    state = named_state(method)
    finite = {name: torch.isfinite(value).all() for name, value in state.items()}
    if torch.stack(list(finite.values())).all().item():
        return None
    return next(name for name, all_finite in finite.items() if not all_finite)


def fingerprint(method: Method) -> str:
    """Return the SHA-256 of all weights and statistics, in hexadecimal.

    That of a method which owns nothing but its encoder is that of the encoder.
    """
    digest = hashlib.sha256()
    for name, value in sorted(named_state(method).items(), key=lambda item: item[0]):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
