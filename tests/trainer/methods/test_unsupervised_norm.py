"""Unsupervised batch normalization, against its definition: Kocyigit (2023), eq. 2.1-2.4."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from two_ranks import run_two_ranks

from trainer.methods.unsupervised_norm import (
    UnsupervisedBatchNorm1d,
    UnsupervisedBatchNorm2d,
    convert,
    given_statistics,
    updating_statistics,
)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 9, 6, bias=False),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 3),
    ).double()


def images(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 + 3 * torch.randn(count, 3, 9, 9, generator=generator, dtype=torch.float64)


X, Y = images(8, 0), images(12, 1)
LABELS = torch.arange(8) % 3


def by_the_definition(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Outputs of x, each layer normalized by the statistics of x and y, which have no gradient."""
    for layer in model:  # type: ignore[attr-defined]
        if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            x, y = layer(x), layer(y)
            continue
        n = torch.cat([x, y]).detach()
        dims = [dim for dim in range(n.dim()) if dim != 1]
        shape = [1, -1, *[1] * (n.dim() - 2)]
        mean, sigma = n.mean(dims).view(shape), (n.var(dims, correction=0) + layer.eps).sqrt().view(shape)
        gamma, beta = layer.weight.view(shape), layer.bias.view(shape)
        x, y = (gamma * (part - mean) / sigma + beta for part in (x, y))
    return x


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_both_steps_are_those_of_the_definition() -> None:
    plain, ours = network(), convert(network())
    F.cross_entropy(by_the_definition(plain, X, Y), LABELS).backward()
    with updating_statistics(ours):
        together = ours(torch.cat([X, Y]))
    with given_statistics(ours):
        alone = ours(X)
    torch.testing.assert_close(alone, together[:8], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(alone, by_the_definition(plain, X, Y), rtol=1e-10, atol=1e-10)
    F.cross_entropy(alone, LABELS).backward()
    for mine, theirs in zip(gradients(ours), gradients(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_the_first_step_changes_nothing_but_the_moving_averages_which_are_torchs() -> None:
    plain, ours = network(), convert(network())
    weights = [parameter.clone() for parameter in ours.parameters()]
    for seed in range(3):
        n = images(10, seed)
        plain(n)
        with updating_statistics(ours):
            assert not ours(n).requires_grad
    assert all(torch.equal(one, other) for one, other in zip(weights, ours.parameters(), strict=True))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-10, atol=1e-12)
    # The second step leaves them as they are, and evaluation is that of batch normalization.
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with given_statistics(ours):
        ours(X)
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())
    torch.testing.assert_close(ours.eval()(X), plain.eval()(X), rtol=1e-10, atol=1e-10)


def test_the_order_of_unlabelled_images_does_not_matter() -> None:
    losses = []
    for y in (Y, Y.flip(0)):
        ours = convert(network())
        with updating_statistics(ours):
            ours(torch.cat([X, y]))
        with given_statistics(ours):
            losses.append(F.cross_entropy(ours(X), LABELS))
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_moving_averages_follow_the_layers_momentum(momentum: float | None) -> None:
    plain = nn.BatchNorm2d(3, momentum=momentum).double()
    ours = convert(copy.deepcopy(plain))
    for seed in range(4):
        plain(images(6, seed))
        with updating_statistics(ours):
            ours(images(6, seed))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-10, atol=1e-12)


def test_statistics_are_float32_under_autocast() -> None:
    layer = convert(nn.BatchNorm2d(3))
    half = (1000 + images(64, 0)).bfloat16()
    with updating_statistics(layer):
        made = layer(half)
    assert made.dtype == torch.bfloat16
    mean = half.float().mean((0, 2, 3))
    assert layer.running_mean is not None
    torch.testing.assert_close(layer.running_mean, 0.1 * mean, rtol=1e-5, atol=0)
    assert made.float().mean().abs() < 0.05
    with given_statistics(layer):
        assert torch.equal(layer(half), made)


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: torch.compile(layer, backend="eager")])
def test_a_compiled_model_has_two_graphs_and_the_same_outputs(wrap: Callable[[nn.Module], nn.Module]) -> None:
    ours, plain = convert(network()), convert(network())
    called = wrap(ours)
    for seed in range(2):
        with updating_statistics(plain):
            plain(torch.cat([X, images(12, seed)]))
        with updating_statistics(ours):
            called(torch.cat([X, images(12, seed)]))
        with given_statistics(ours), given_statistics(plain):
            torch.testing.assert_close(called(X), plain(X), rtol=1e-10, atol=1e-10)


def test_layers_keep_their_state_and_only_torchs_own_are_converted() -> None:
    class Other(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.BatchNorm2d(3), Other(3), nn.BatchNorm1d(3), nn.SyncBatchNorm(3))
    names = list(model.state_dict())
    assert convert(model) is model
    assert [type(layer) for layer in model] == [
        UnsupervisedBatchNorm2d,
        Other,
        UnsupervisedBatchNorm1d,
        nn.SyncBatchNorm,
    ]
    assert list(model.state_dict()) == names


def test_a_pass_that_was_not_recorded_is_not_replayed() -> None:
    model = convert(network())
    refused = pytest.raises(RuntimeError, match="statistics must be recorded before they are replayed")
    with refused, given_statistics(model):
        model(X)
    # Both modes end with their contexts, whatever happens in them.
    assert torch.equal(model(X), convert(network())(X))


def test_one_value_per_channel_has_no_statistics() -> None:
    layer = convert(nn.BatchNorm1d(3))
    refused = pytest.raises(ValueError, match=r"more than one value per channel; got \[1, 3\]")
    with refused, updating_statistics(layer):
        layer(torch.zeros(1, 3))


def test_the_readmes_lines_are_both_steps(request: pytest.FixtureRequest) -> None:
    readme = request.config.rootpath / "trainer" / "README.md"
    found = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    (code,) = (one for one in found if "given_statistics" in one)
    names = {"torch": torch, "model": network(), "labelled": X, "unlabelled": Y, "labels": LABELS}
    exec(code, names | {"criterion": F.cross_entropy}, names)
    loss = names["loss"]
    assert isinstance(loss, Tensor)
    torch.testing.assert_close(loss, F.cross_entropy(by_the_definition(network(), X, Y), LABELS))


RANKS = """
import sys
import torch
sys.path[:0] = sys.argv[1:]
torch.set_num_threads(1)
from test_unsupervised_norm import X, Y, network
from trainer.methods.unsupervised_norm import convert, given_statistics, updating_statistics
from trainer.parallel import join, leave

world = join("cpu")
whole, ours = convert(network()), convert(network(), synchronized=True)
apart = convert(network())
with updating_statistics(whole):
    whole(torch.cat([X, Y]))
for model in (ours, apart):
    with updating_statistics(model):
        model(torch.cat([X[world.rank::2], Y[world.rank::2]]))
with given_statistics(whole), given_statistics(ours), given_statistics(apart):
    torch.testing.assert_close(ours(X), whole(X), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(apart(X), whole(X), rtol=1e-3, atol=1e-3)
for name, value in whole.state_dict().items():
    torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-9, atol=1e-11)
leave()
"""


@pytest.mark.slow
def test_two_ranks_have_the_statistics_of_one(request: pytest.FixtureRequest) -> None:
    here = request.path.parent
    run_two_ranks(RANKS, str(here), str(here.parents[1] / "parts"))
