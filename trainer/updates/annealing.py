"""Parts of a network whose learning rates fall to 0 before the run's end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from trainer.errors import RunError
from trainer.pretrained.freezing import below
from trainer.schedules import Schedule


def parse(entries: Sequence[str]) -> dict[str, float]:
    """Return the fraction of the budget at which each part's training ends, by its name.

    Parameters
    ----------
    entries
        NAME=FRACTION each.

    Raises
    ------
    RunError
        When one isn't, a fraction is out of range, or a name occurs twice.
    """
    found: dict[str, float] = {}
    for entry in entries:
        name, _, text = entry.rpartition("=")
        try:
            fraction = float(text)
        except ValueError:
            fraction = -1.0
        if not name or name in found or not 0 < fraction < 1:
            raise RunError(
                "train_until must be parts of the network with fractions of the budget above 0 and below 1, "
                f"each part once; got {entry!r}: write whiten=0.375"
            )
        found[name] = fraction
    return found


def end_early(optimizer: torch.optim.Optimizer, network: nn.Module, entries: Sequence[str]) -> None:
    """Move the parameters of parts of a network into groups of their own, with "until".

    Raises
    ------
    RunError
        When the network has no such part.
    """
    for name, until in parse(entries).items():
        chosen = {id(network.get_parameter(found)) for found in below(network, name, "train_until")}
        for group in list(optimizer.param_groups):
            inside = [value for value in group["params"] if id(value) in chosen]
            if not inside:
                continue
            rest = [value for value in group["params"] if id(value) not in chosen]
            if rest:
                group["params"] = rest
                optimizer.add_param_group({**group, "params": inside, "until": until})
            else:
                group["until"] = until


def early_factor(schedule: Schedule, progress: float, until: float) -> float:
    """Return the factor of a group whose schedule ends at ``until``.

    The whole schedule then runs from 0 to ``until``, after which the factor is 0.
    """
    return schedule.factor(progress / until) if progress < until else 0.0
