"""ordered_sgd: the mean of the top q losses, and how q falls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline import Batch, Mixture
from trainer.methods import Losses, Supervised
from trainer.selection import Setting, Weighting
from trainer.selection.ordered_sgd import OrderedSgd


def mixed(coefficients: torch.Tensor) -> Batch:
    """A batch whose images are mixed by these coefficients, [n, k]."""
    n, k = coefficients.shape
    partners = np.tile(np.arange(n)[:, None], (1, k))
    return Batch(np.arange(n), (), {}, Mixture.of(partners, coefficients.numpy()))


def batch(n: int, right: int, seed: int = 0, k: int = 1) -> tuple[Losses, Batch]:
    """Losses of n images of which ``right`` are predicted as each of their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (n, 1), generator=generator).expand(n, k)
    outputs = torch.rand(n, 5, generator=generator)
    outputs[torch.arange(n), labels[:, 0]] = torch.where(torch.arange(n) < right, 2.0, -1.0)
    coefficients = torch.rand(n, k, generator=generator)
    losses = Supervised().build(torch.nn.Identity()).losses(outputs.requires_grad_(), labels)
    return losses, mixed(coefficients / coefficients.sum(1, keepdim=True))


@pytest.mark.parametrize("n", [1, 7, 32])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_the_weighted_mean_is_the_mean_of_the_q_highest_losses(
    setting: Callable[..., Setting], n: int, k: int, halvings: int
) -> None:
    selection = OrderedSgd().build(setting(n))
    selection.load_state_dict({"halvings": halvings, "hits": torch.zeros(()), "seen": 0})
    losses, trained = batch(n, n // 2, k=k)
    weights = selection.weigh(losses, trained)
    assert not weights.requires_grad
    assert trained.mixture is not None
    per_image = (losses.loss * trained.mixture.device_coefficients).sum(dim=1)
    q = max(1, n // 2**halvings)
    top = sorted(per_image.tolist(), reverse=True)[:q]
    assert (per_image * weights).mean().item() == pytest.approx(sum(top) / q, rel=1e-5)
    assert (weights > 0).sum() == q


def test_q_halves_at_each_threshold_and_never_grows(setting: Callable[..., Setting]) -> None:
    selection = OrderedSgd().build(setting(64))
    course = [(0, 64), (790, 64), (800, 32), (100, 32), (949, 16), (950, 8), (995, 4), (1000, 4), (0, 4)]
    for right, q in course:
        for start in range(0, 1000, 100):
            selection.weigh(*batch(100, min(100, max(0, right - start)), seed=start))
        selection.end_round()
        # Asked of a twin, since asking counts as training too.
        twin = OrderedSgd().build(setting(64))
        twin.load_state_dict(selection.state_dict())
        assert (twin.weigh(*batch(64, 0)) > 0).sum() == q
        assert twin.state_dict()["seen"] == 64


def test_it_weighs_what_is_trained_and_loads_no_more(setting: Callable[..., Setting]) -> None:
    assert isinstance(OrderedSgd().build(setting(8)), Weighting)
    assert OrderedSgd().ratio == 1


def test_a_round_without_a_step_changes_nothing(setting: Callable[..., Setting]) -> None:
    selection = OrderedSgd().build(setting(8))
    selection.end_round()
    assert selection.state_dict()["halvings"] == 0


def test_under_mixing_a_hit_counts_by_its_share(setting: Callable[..., Setting]) -> None:
    selection = OrderedSgd().build(setting(4))
    outputs = torch.tensor([[3.0, 0, 0], [3.0, 0, 0], [3.0, 0, 0], [3.0, 0, 0]])
    labels = torch.tensor([[0, 1], [1, 0], [0, 0], [1, 2]])
    coefficients = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]])
    selection.weigh(Supervised().build(torch.nn.Identity()).losses(outputs, labels), mixed(coefficients))
    assert selection.state_dict()["hits"].item() == pytest.approx(0.75 + 0.5 + 1 + 0)
    assert selection.state_dict()["seen"] == 4
