"""proxy: a small network of its own chooses, is trained on the side, and is paid for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from further_networks import maker
from torch import nn

from trainer.budget.flops import forward_flops
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.loop import train
from trainer.models import ResNet8, ResNet18, TimmModel, WhitenedCNN
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.selection import Candidates, Owner, Setting
from trainer.selection.proxy import Proxy, ProxySelection
from trainer.session import Session

CPU = torch.device("cpu")


@pytest.fixture
def selection() -> ProxySelection:
    torch.manual_seed(0)
    part = Proxy(model="resnet8:width=2", every=3)
    return part.build(Setting(4, 100, CPU, network=ResNet8(), further=maker(5, CPU, lr=0.5)))


def weights(selection: ProxySelection) -> torch.Tensor:
    return nn.utils.parameters_to_vector(selection.own.network.parameters()).detach().clone()


def test_the_highest_losses_are_chosen_and_every_third_pool_is_learned_from(
    selection: ProxySelection, pool: Callable[..., Candidates]
) -> None:
    generator = torch.Generator().manual_seed(1)
    for turn in range(7):
        images, labels = torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 5
        losses = torch.rand(8, generator=generator)
        shown = replace(pool(losses, images=images, labels=labels), progress=turn / 10)
        before = weights(selection)
        expected = losses.argsort(descending=True)[:4]
        assert selection.choose(shown).indices.tolist() == expected.tolist()
        moved = not torch.equal(weights(selection), before)
        assert moved == (turn % 3 == 0)
        (group,) = selection.own.state_dict()["optimizer"]["param_groups"][:1]
        # The schedule is that of the run, at the progress of the pool.
        assert group["lr"] == pytest.approx(0.5 * (1 - (turn - turn % 3) / 10), rel=1e-4)


def test_its_step_is_that_of_the_chosen_alone(
    selection: ProxySelection, pool: Callable[..., Candidates]
) -> None:
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
    losses = torch.tensor([0.0, 9, 0, 8, 0, 7, 6, 0])
    alone = maker(5, CPU, lr=0.5)(ResNet8(width=2))
    alone.load_state_dict(selection.own.state_dict())
    selection.choose(pool(losses, images=images, labels=labels))
    alone.train(images[[1, 3, 5, 6]], labels[[1, 3, 5, 6]], 0.0)
    expected = nn.utils.parameters_to_vector(alone.network.parameters())
    torch.testing.assert_close(weights(selection), expected.detach())


def test_the_default_is_the_networks_own_kind_narrowed() -> None:
    assert Proxy().network_of(ResNet18(width=64)) == ResNet18(width=16)
    assert Proxy(width=0.01).network_of(ResNet8(width=16)) == ResNet8(width=1)
    assert Proxy(width=0.5).network_of(WhitenedCNN(depth=3)) == WhitenedCNN((32, 128, 128), depth=3)
    text = "whitened_cnn:widths=32,64,64:depth=2:scale=0.125"
    assert Proxy(model=text).network_of(ResNet18()) == WhitenedCNN((32, 64, 64), scale=0.125)
    with pytest.raises(RunError, match=r"TimmModel has no width to narrow; got None: give --sel"):
        Proxy().network_of(TimmModel())


def test_all_its_passes_are_charged(recipe: Callable[..., Run], train_run: Callable[..., Session]) -> None:
    part = {"name": "proxy", "width": 0.5, "every": 2}
    run = recipe(selection=part, counts="compute", model={"name": "resnet8", "width": 4})
    session = train_run(run)
    ledger, costs = session.ledger, session.account.costs
    assert ledger.scored >= 2 * ledger.trained - 2 * 64
    assert ledger.score_costs[28] > 0
    spent = ledger.trained + ledger.scored * ledger.score_costs[28]
    assert session.account.compute == pytest.approx(spent)
    assert spent <= 1280 * 4 * 0.5
    with torch.device("meta"):
        own, whole = (forward_flops(ResNet8(width=width).build(10), 28) for width in (2, 4))
    # Each candidate's own pass, and at every second pool three for half of the candidates.
    by_flops = costs.step_passes * ledger.trained + ledger.scored * own / whole * (1 + 3 / 4)
    assert session.account.forward_passes == pytest.approx(by_flops, rel=0.05)
    assert session.account.forward_passes == costs.forward_passes(ledger.trained, ledger.scored_at)


def test_its_losses_are_not_the_samplers(
    recipe: Callable[..., Run], train_run: Callable[..., Session]
) -> None:
    session = train_run(recipe(selection={"name": "proxy", "width": 0.5}, sampler="p_sgd", epochs=2))
    # Only what was trained has a loss; scored samples without one were never chosen.
    seen, known = session.samples.times_seen > 0, torch.isfinite(torch.from_numpy(session.samples.last_loss))
    assert (seen == known.numpy()).all()
    assert isinstance(session.selector.selection, Owner)


@pytest.mark.parametrize("scoring", ["eval", "train"])
def test_a_resumed_run_ends_with_the_same_weights(
    recipe: Callable[..., Run], train_run: Callable[..., Session], watch: Callable[..., Any], scoring: str
) -> None:
    settings = {
        "selection": {"name": "proxy", "width": 0.5, "every": 3},
        "optimizer": {"name": "sgd", "lr": 0.2, "nesterov": True},
        "scoring": scoring,
        "log_every": 1,
        "epochs": 2,
    }
    whole = train_run(recipe(name="whole", **settings))
    run = recipe(name="stopped", **settings)
    with pytest.raises(InterruptedRunError):
        train(run, RunFolder(run.runs_dir / folder_name(run), run), World(), watch(stop_at=10))
    assert train_run(run).fingerprint() == whole.fingerprint()


def test_a_proxy_as_large_as_the_network_is_refused(
    recipe: Callable[..., Run], train_run: Callable[..., Session]
) -> None:
    with pytest.raises(RunError, match=r"model must be a smaller network than the run's, which takes"):
        train_run(recipe(selection={"name": "proxy", "model": "resnet8:width=4"}))


def test_a_sampler_that_asks_for_scores_is_refused(recipe: Callable[..., Run]) -> None:
    line = "proxy scores by a network of its own, and sampler kakurenbo requests scores of the run's: take"
    with pytest.raises(RunError, match=line):
        recipe(selection="proxy", sampler="kakurenbo")
