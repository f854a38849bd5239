"""Accumulation: a step in micro-batches is the whole batch's, in double precision, without normalization."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from penalized import PenalizedMethod
from torch import Tensor, nn

from pipeline import Batch, Mixture, PendingIds
from trainer.account import Ledger
from trainer.config import Run
from trainer.errors import RunError
from trainer.methods import Losses, Method, Supervised
from trainer.models import MODELS
from trainer.session import Session
from trainer.step import Step
from trainer.updates.update import Update

N, CLASSES = 12, 5


def network() -> nn.Module:
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(6 * 36, CLASSES)
    return nn.Sequential(*layers).double()


def batch(k: int, seed: int = 0, weights: bool = True) -> Batch:
    """Return a batch of images of k constituents each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(N, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (N,), generator=generator)
    rng = np.random.default_rng(seed)
    mixture = None
    if k > 1:
        shares = rng.dirichlet(np.ones(k), N).astype(np.float32)
        mixture = Mixture.of(np.stack([rng.permutation(N) for _ in range(k)], axis=1), shares)
    multipliers = torch.from_numpy(rng.uniform(0.5, 2, N).astype(np.float32)) if weights else None
    return Batch(np.arange(N), (images,), {"label": labels}, mixture, multipliers)


def made(method: Method, micro_batches: int, given: Batch, **streams: Batch) -> tuple[Losses, list[Tensor]]:
    """Make two steps, the second from other weights, and return the last losses and all weights."""
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    update = Update(optimizer, clip_norm=0.5)
    step = Step(method, method, optimizer, nullcontext(), Ledger(torch.device("cpu")), update, micro_batches)
    for progress in (0.5, 1.0):
        losses = step(given, None, streams, progress=progress)
    return losses, [parameter.detach() for parameter in method.parameters()]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("micro_batches", [2, 3, 12])
def test_micro_batches_make_the_step_of_the_whole_batch(k: int, micro_batches: int) -> None:
    whole = made(Supervised().build(network()), 1, batch(k))
    split = made(Supervised().build(network()), micro_batches, batch(k))
    for name in ("loss", "p_true", "error", "correct"):
        ours, theirs = getattr(split[0], name), getattr(whole[0], name)
        assert ours.shape == (N, k)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for one, other in zip(split[1], whole[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_streams_are_split_too() -> None:
    unlabelled = batch(1, seed=3, weights=False)
    whole, split = (
        made(PenalizedMethod(network()), count, batch(1, weights=False), unlabelled=unlabelled)
        for count in (1, 4)
    )
    torch.testing.assert_close(split[1], whole[1], rtol=1e-12, atol=1e-12)


def test_parts_of_a_batch_share_its_memory_and_need_equal_sizes() -> None:
    given = batch(2)
    parts = given.split(3)
    assert [list(part.ids) for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]  # type: ignore[arg-type]
    memory = {batch.images.untyped_storage().data_ptr() for batch in (given, *parts)}
    assert len(memory) == 1
    labels = torch.cat([part.constituents(part.targets["label"]) for part in parts])
    assert torch.equal(labels, given.constituents(given.targets["label"]))
    with pytest.raises(ValueError, match="divisible into 5 equal parts; got 12 images"):
        given.split(5)
    pending = PendingIds(np.arange(10, 40), torch.arange(N))
    chosen = Batch(pending, given.views, given.targets)
    first = chosen.split(2)[1].ids
    assert isinstance(first, PendingIds)
    assert list(first.resolve()) == list(range(16, 22))


@dataclass(frozen=True)
class Plain:
    """A network without normalization."""

    def build(self, classes: int) -> nn.Module:
        pooled = nn.Conv2d(3, 8, 5, stride=2), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        return nn.Sequential(*pooled, nn.Linear(32, classes))


@pytest.mark.parametrize("selection", ["all", "foms"])
def test_a_run_in_micro_batches_is_the_run(
    recipe: Callable[..., Run],
    train_run: Callable[..., Session],
    watch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    selection: str,
) -> None:
    monkeypatch.setitem(MODELS, "plain", Plain)
    found = []
    for count in (1, 4):
        run = recipe(
            model="plain",
            accumulate=count,
            precision="fp64",
            augment=["ricap"],
            selection=selection,
            epochs=1,
            log_every=1,
            optimizer={"name": "sgd", "lr": 0.01},
        )
        train_run(run, watcher := watch())
        found.append(watcher.losses)
    assert len(found[0]) == 10
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"accumulate": 0}, "accumulate must be above 0; got 0"),
        (
            {"accumulate": 3},
            "accumulate must divide batch_size into micro-batches of 2 images at least; got 3 for a batch of",
        ),
        ({"accumulate": 64}, "micro-batches of 2 images at least; got 64 for a batch of 64"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0 and finite; got 0"),
        ({"clip_norm": float("nan")}, "clip_norm must be above 0 and finite; got nan"),
        ({"ema": 1.0}, "ema must be above 0 and below 1, .9998 say; got 1: leave it out for no average"),
    ],
)
def test_settings_of_the_step_are_checked(
    recipe: Callable[..., Run], entries: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        recipe(**entries)
