"""The effect of changing statistics on outputs: figures 2.4 and 2.5 of Kocyigit (2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.spirals.points import Points
from tools.spirals.training import recorded
from trainer.methods.unsupervised_norm import given_statistics

DRAWS = 100
"""Draws of unlabelled points that statistics are taken of."""

_STEPS, _RATE, _NEAR = 200, 0.01, 1e-6


def drawn_statistics(
    model: nn.Sequential, points: Points, count: int, generator: torch.Generator
) -> nn.Sequential:
    """Return a network that has recorded labelled points and ``count`` random unlabelled ones."""
    chosen = torch.randperm(len(points.unlabelled), generator=generator)[:count]
    return recorded(model, torch.cat([points.labelled, points.unlabelled[chosen]]))


@torch.no_grad()
def spread(model: nn.Sequential, points: Points, at: Tensor, count: int, seed: int) -> Tensor:
    """Return the standard deviation of the second spiral's probability over draws of statistics, float32[n].

    After Teye et al. (2018): a network's uncertainty by the statistics of random batches.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    for _ in range(DRAWS):
        drawn = drawn_statistics(model, points, count, generator)
        with given_statistics(drawn):
            found.append(torch.softmax(drawn(at), dim=1)[:, 1])
    return torch.stack(found).std(dim=0)


def moved(model: nn.Sequential, points: Points, count: int, seed: int) -> Tensor:
    """Return where each labelled point is moved to by other statistics, float32[draws, n, 2].

    With outputs o of the point under one draw of statistics, the point is moved by Adam on |f(x') - o|^2
    under another until that is below 1e-6, or for 200 steps: what the point would have to be for the other
    statistics to show it alike.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    with torch.no_grad():
        first = drawn_statistics(model, points, count, generator)
        with given_statistics(first):
            wanted = first(points.labelled)
    for _ in range(DRAWS):
        drawn = drawn_statistics(model, points, count, generator).requires_grad_(False)
        places = points.labelled.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([places], _RATE)
        for _ in range(_STEPS):
            with given_statistics(drawn):
                error = (drawn(places) - wanted).square().sum(dim=1)
            far = error.detach() >= _NEAR
            if not far.any():
                break
            optimizer.zero_grad()
            (error * far).sum().backward()
            optimizer.step()
        found.append(places.detach())
    return torch.stack(found)
