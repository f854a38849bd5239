"""hard_augment: the hardest of several views' pairs, its runs, and the cost of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline import Batch
from trainer import RunFolder, Session, open_session
from trainer.budget.flops import forward_flops, meta_batch, step_flops
from trainer.config import Run
from trainer.errors import RunError
from trainer.methods import METHODS
from trainer.methods.byol import BYOL, byol_loss
from trainer.methods.dino import dino_loss
from trainer.methods.simclr import nt_xent
from trainer.methods.simsiam import SimSiam, simsiam_loss
from trainer.models.resnet import ResNet8
from trainer.recipe import from_table
from trainer.selection import Setting
from trainer.selection.hard_augment import HardAugment
from trainer.selection.pairs import PairSelector

METHOD: dict[str, dict[str, Any]] = {
    "simsiam": {"out": 16, "bottleneck": 8},
    "byol": {"hidden": 16, "out": 8},
    "simclr": {"out": 8},
    "moco": {"out": 8, "queue": 32},
    "dino": {"hidden": 16, "bottleneck": 8, "out": 24},
}


@pytest.fixture
def make(tiny: Callable[..., Path], tmp_path: Path) -> Callable[..., Run]:
    data = tiny()

    def made(method: str = "simsiam", **entries: Any) -> Run:
        table = {
            "data": str(data),
            "test_data": str(data.with_name("test.beton")),
            "model": {"name": "resnet8", "width": 4},
            "method": {"name": method, **METHOD.get(method, {})},
            "evaluator": {"name": "knn", "k": 10} if method in METHOD else "classification",
            "augment": ["ssl"],
            "batch_size": 32,
            "epochs": 1,
            "budget": 1.0,
            "device": "cpu",
            "threads": 1,
            **entries,
        }
        return from_table(table, where="test")

    return made


def steps(session: Session) -> Iterator[Any]:
    for current in session.rounds():
        yield from session.steps(current)
        session.finish(current)


@pytest.mark.parametrize("choice", ["hard", "random", "first"])
def test_the_pair_is_that_of_brute_force(choice: Any) -> None:
    m, n = 5, 40
    part = HardAugment(m=m, choice=choice)
    selection = part.build(Setting(n, n, torch.device("cpu")))
    losses, uniforms = torch.randn(n, m, m, dtype=torch.float64), torch.rand(n)
    losses = losses + losses.transpose(1, 2)
    losses[0] = 1
    first, second = selection.pairs(losses if choice == "hard" else None, uniforms)
    pairs = list(itertools.combinations(range(m), 2))
    for row, found in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if choice == "hard":
            best = max(float(losses[row, i, j]) for i, j in pairs)
            # Ties go to the first pair in lexicographic order.
            assert found == next(pair for pair in pairs if float(losses[row, pair[0], pair[1]]) == best)
        else:
            assert found == (pairs[int(uniforms[row] * 10)] if choice == "random" else (0, 1))


@pytest.mark.parametrize("method", METHOD)
def test_a_pairs_loss_is_the_part_of_the_methods_that_depends_on_it(method: str) -> None:
    torch.manual_seed(0)
    encoder = ResNet8(width=4).build(classes=0)
    built = METHODS[method](**METHOD[method]).build(encoder).eval()
    views = tuple(torch.randn(3, 3, 8, 8) for _ in range(3))
    with torch.no_grad():
        outputs = [torch.stack(column, dim=1) for column in zip(*map(built.pair_outputs, views), strict=True)]
        losses = built.pair_losses(outputs)
        assert losses.shape == (3, 3, 3)
        torch.testing.assert_close(losses, losses.transpose(1, 2))
        for i, j in itertools.combinations(range(3), 2):
            z = [outputs[-1][:, view] for view in (i, j)]
            if method in ("simclr", "moco"):
                expected = -torch.cosine_similarity(z[0], z[1])
            else:
                # A target that has followed nothing yet is the network itself.
                expected = built(Batch(np.arange(3), (views[i], views[j]), {})).loss[:, 0]
                expected = (expected - 2) / 2 if method == "byol" else expected
            torch.testing.assert_close(losses[:, i, j], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scoring", ["train", "eval"])
def test_the_hardest_pair_is_trained_on_and_scoring_leaves_no_trace(
    make: Callable[..., Run], tmp_path: Path, scoring: str
) -> None:
    run = make(selection={"name": "hard_augment", "m": 4, "pixels": 0.5, "scoring": scoring})
    with open_session(run, RunFolder(tmp_path / "run", run)) as session:
        session.begin_round()
        before = {name: value.clone() for name, value in session.method.state_dict().items()}
        raw = next(session.candidates())
        light, selector = raw.augment(), session.selector
        assert isinstance(selector, PairSelector)
        losses = selector.score(light, session.stage)
        (ready,) = session.ready(raw, session.selects)
    batch = ready.batch
    assert len(light.views) == 4
    assert len(batch.views) == 2
    first, second = torch.triu_indices(4, 4, offset=1)
    hardest = losses[:, first, second].argmax(dim=1)
    for row in range(len(batch)):
        for view, number in zip(batch.views, (first[hardest[row]], second[hardest[row]]), strict=True):
            assert torch.equal(view[row], light.views[int(number)][row])
    after = session.method.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert session.method.training
    # Four views of each image at 4 of 8 px.
    assert session.ledger.scored_at == {4: 4 * 32}


def test_two_views_train_as_without(make: Callable[..., Run], tmp_path: Path) -> None:
    found = []
    for name, selection in (("all", "all"), ("pairs", {"name": "hard_augment", "m": 2})):
        run = make(selection=selection)
        with open_session(run, RunFolder(tmp_path / name, run)) as session:
            losses = [step.losses.loss for step in steps(session)]
            found.append((torch.cat(losses), session.fingerprint()))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("choice", ["hard", "random"])
def test_the_other_views_are_targets_at_the_resolution_of_scoring(
    make: Callable[..., Run], tmp_path: Path, choice: str
) -> None:
    selection = {"name": "hard_augment", "m": 4, "pixels": 0.5, "choice": choice, "extra_targets": True}
    run = make(selection=selection)
    with open_session(run, RunFolder(tmp_path / "run", run)) as session:
        session.begin_round()
        raw = next(session.candidates())
        light = raw.augment()
        (ready,) = session.ready(raw, session.selects)
        session.train(ready)
    assert [tuple(view.shape[2:]) for view in ready.batch.views] == [(8, 8), (8, 8), (4, 4), (4, 4)]
    # Beside the scored ones, if any, two views of each image pass forward.
    assert session.ledger.scored_at == {4: ((4 if choice == "hard" else 0) + 2) * 32}
    small = [interpolated(view) for view in light.views]
    for row in range(32):
        trained = [
            next(k for k in range(4) if torch.equal(view[row], light.views[k][row]))
            for view in ready.batch.views[:2]
        ]
        rest = [k for k in range(4) if k not in trained]
        for view, number in zip(ready.batch.views[2:], rest, strict=True):
            assert torch.equal(view[row], small[number][row])


def interpolated(view: torch.Tensor) -> torch.Tensor:
    return F.interpolate(view, size=[4, 4], mode="bilinear", antialias=True, align_corners=False)


@pytest.mark.parametrize("method", METHOD)
def test_extra_targets_get_no_gradient_and_leave_no_statistics(method: str) -> None:
    torch.manual_seed(0)
    encoder = ResNet8(width=4).build(classes=0)
    built = METHODS[method](**METHOD[method]).build(encoder)
    state = {name: value.clone() for name, value in built.state_dict().items()}
    views = tuple(torch.randn(4, 3, 8, 8) for _ in range(2))
    extra = tuple(torch.randn(4, 3, 4, 4, requires_grad=True) for _ in range(2))
    torch.manual_seed(1)
    plain = built(Batch(np.arange(4), views, {})).loss
    statistics = {name: value.clone() for name, value in built.named_buffers()}
    built.load_state_dict(state)
    torch.manual_seed(1)
    loss = built(Batch(np.arange(4), (*views, *extra), {})).loss
    loss.mean().backward()
    assert torch.isfinite(loss).all()
    assert not torch.equal(loss, plain)
    assert all(view.grad is None for view in extra)
    assert all(torch.equal(value, statistics[name]) for name, value in built.named_buffers())


def test_a_views_loss_is_the_mean_over_its_targets() -> None:
    p1, p2, t1, t2, more = (torch.randn(5, 6, dtype=torch.float64) for _ in range(5))
    for loss in (simsiam_loss, byol_loss, partial(dino, center=torch.randn(6))):
        expected = (loss(p1, p2, t1, t2) + loss(p1, p2, more, more)) / 2
        torch.testing.assert_close(loss(p1, p2, t1, t2, extra=[more]), expected)
    # A target that is the partner changes nothing.
    torch.testing.assert_close(nt_xent(p1, p1, 0.2, [p1, p1]), nt_xent(p1, p1, 0.2))


def dino(
    s1: torch.Tensor, s2: torch.Tensor, t1: torch.Tensor, t2: torch.Tensor, center: torch.Tensor, **more: Any
) -> torch.Tensor:
    return dino_loss(s1, s2, t1, t2, center, 0.1, 0.04, **more)


def test_scoring_is_charged(make: Callable[..., Run], tmp_path: Path) -> None:
    run = make(counts="compute", selection={"name": "hard_augment", "m": 4, "pixels": 0.5}, epochs=4)
    with open_session(run, RunFolder(tmp_path / "run", run)) as session:
        made = sum(1 for _ in steps(session))
        ledger, account = session.ledger, session.account
        assert made == ledger.steps < 16
        scored = ledger.scored_at[4] * ledger.score_costs[4]
        assert account.spent == pytest.approx(32 * made + scored)
        assert account.spent <= account.total


def test_a_method_without_pairs_is_refused(make: Callable[..., Run]) -> None:
    with pytest.raises(RunError) as refused:
        make(method="supervised", selection="hard_augment")
    assert str(refused.value) == (
        "selection hard_augment needs pairs, which method supervised doesn't offer: take --method simsiam, "
        "byol, simclr, moco or dino, or --selection all, selective_backprop, selective_backprop_exact, "
        "ordered_sgd, foms, greedy, impon, impon_low, gradient_norm, rho_loss, divbs or proxy"
    )


def test_one_view_is_refused() -> None:
    with pytest.raises(RunError, match="m must be at least 2 views, of which a pair is chosen; got 1"):
        HardAugment(m=1)


def test_a_resolution_above_that_of_training_is_refused(make: Callable[..., Run], tmp_path: Path) -> None:
    run = make(selection={"name": "hard_augment", "pixels": 64})
    with pytest.raises(RunError, match=r"selection.pixels must be at most the 8 pixels of training; got 64"):
        open_session(run, RunFolder(tmp_path / "run", run))


# --- The arithmetic of the thesis ------------------------------------------------------------------------


def test_the_cost_of_a_steps_passes_is_the_usual_one() -> None:
    """Two views forward and backward are 6 forward passes, a target's two are 8; heads come on top."""
    with torch.device("meta"):
        encoder = ResNet8(width=64).build(classes=0)
        simsiam = SimSiam(out=1, bottleneck=1, hidden=1).build(encoder)
        byol = BYOL(hidden=1, out=1).build(encoder)
    forward = forward_flops(encoder, 32)
    for method, passes in ((simsiam, 6), (byol, 8)):
        assert step_flops(method, meta_batch(2, 2, 32)) / 2 / forward == pytest.approx(passes, rel=1e-3)
