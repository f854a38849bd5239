"""Whether a network's weights are finite, and whether they are another's."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def not_finite(model: nn.Module) -> str | None:
    """Return the name of the first weight or statistic that isn't finite; None where all are.

    Waits for the device once.
    """
    state = model.state_dict()
    finite = {name: torch.isfinite(value).all() for name, value in state.items()}
    if torch.stack(list(finite.values())).all().item():
        return None
    return next(name for name, all_finite in finite.items() if not all_finite)


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of all weights and statistics, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
