"""Averaged weights: their decay, what is evaluated, clipped updates, checkpoints of the best evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainer import RunFolder, checkpoint, open_session
from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.metrics import Metric
from trainer.session import Session
from trainer.updates.average import Average
from trainer.updates.update import Update

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]
SHORT: dict[str, Any] = {
    "model": {"name": "resnet8", "width": 4},
    "epochs": 1,
    "budget": 0.4,
    "log_every": 1,
    "round_length": 0.25,
    "precision": "fp32",
    "threads": 1,
}


def test_the_average_warms_up_as_timms_does() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    average = Average(net, 0.9)
    expected = torch.zeros(2, 2)
    for step in range(1, 60):
        with torch.no_grad():
            net[0].weight.fill_(step)  # type: ignore[operator]
            net[1].num_batches_tracked.fill_(step)  # type: ignore[operator]
        average.update()
        # ModelEmaV3.get_decay(step) with its defaults of the warm-up, gamma 1 and power 2/3.
        decay = min(0.9, 0.0 if step == 1 else 1 - (1 + (step - 1) / 1.0) ** -(2 / 3))
        expected = decay * expected + (1 - decay) * step
        torch.testing.assert_close(average.network[0].weight, expected)  # type: ignore[index]
        assert average.network[1].num_batches_tracked == step  # type: ignore[index]
    assert decay == 0.9
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_a_long_gradient_is_scaled_down_and_a_short_one_kept() -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for scale, expected in ((10.0, 0.5), (0.01, None)):
        gradients = [scale * torch.randn_like(parameter) for parameter in net.parameters()]
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        before = [parameter.detach().clone() for parameter in net.parameters()]
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        Update(optimizer, clip_norm=0.5).step()
        for parameter, start, gradient in zip(net.parameters(), before, gradients, strict=True):
            factor = 1.0 if expected is None else expected / norm
            torch.testing.assert_close(start - parameter.detach(), factor * gradient, rtol=1e-4, atol=1e-5)


def test_a_clipped_and_averaged_step_waits_for_nothing() -> None:
    """On the meta device reading a value raises."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    update = Update(torch.optim.SGD(net.parameters(), lr=1.0), 0.5, Average(net, 0.9))
    net(torch.zeros(4, 3, device="meta")).sum().backward()
    update.step()


def test_evaluated_weights_are_the_averaged_ones_and_go_on(
    recipe: Recipe, train_run: Train, watch: Watch
) -> None:
    entries = {**SHORT, "ema": 0.8, "clip_norm": 1.0, "optimizer": "muon", "selection": "foms"}
    whole = train_run(recipe(**entries, name="whole"), watcher := watch())
    assert whole.average is not None
    assert whole.network is whole.average.network
    plain = train_run(recipe(**{**entries, "ema": None}, name="plain"), other := watch())
    # The average trains nothing.
    assert watcher.losses == other.losses
    assert watcher.accuracies != other.accuracies
    assert plain.fingerprint() != whole.fingerprint()
    ours, theirs = whole.encoder.state_dict(), plain.encoder.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    with pytest.raises(InterruptedRunError):
        train_run(recipe(**entries, name="stopped"), watch(stop_at=3))
    resumed = train_run(recipe(**entries, name="stopped"), again := watch())
    assert again.resumed_at == 3
    assert resumed.fingerprint() == whole.fingerprint()
    saved = checkpoint.load(whole.folder.checkpoint)
    average = saved["average"]["network"]
    assert all(torch.equal(value, average[name]) for name, value in whole.network.state_dict().items())


def test_the_best_evaluation_is_kept_beside_the_last(recipe: Recipe, train_run: Train, watch: Watch) -> None:
    entries = {**SHORT, "keep_best": True, "optimizer": {"name": "sgd", "lr": 1.0}}
    session = train_run(recipe(**entries, name="whole"), watcher := watch())
    best = max(watcher.accuracies)
    first = watcher.accuracies.index(best)
    kept = checkpoint.load(session.folder.best)
    assert kept["best"] == best == session.best
    assert kept["evaluated"] == session.folder.read("evaluations.jsonl")[first]["step"]
    assert checkpoint.load(session.folder.checkpoint)["evaluated"] == session.evaluated
    # A checkpoint to go on from, as the last one is.
    folder = RunFolder(session.folder.path, session.run)
    session.folder.best.replace(folder.checkpoint)
    with open_session(session.run, folder) as there:
        assert there.evaluated == kept["evaluated"]
        assert there.best == best


@pytest.mark.parametrize(("higher", "kept"), [(True, [1.0, 2.0]), (False, [1.0, 0.5])])
def test_a_better_evaluation_is_told_by_the_metrics_direction(
    recipe: Recipe, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, higher: bool, kept: list[float]
) -> None:
    run = recipe(**SHORT)
    with open_session(run, RunFolder(tmp_path / "run", run)) as session:
        monkeypatch.setattr(Run, "metric", Metric("m", "m", higher))
        values = (float("nan"), 1.0, 1.0, 0.5, 2.0)
        assert [value for value in values if session.improves({"m": value})] == kept
