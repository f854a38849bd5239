"""Gradient checkpointing: the same gradients and statistics, bit for bit, from activations made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainer import RunFolder, open_session
from trainer.config import Run
from trainer.errors import RunError
from trainer.models.resnet import ResNet8
from trainer.models.vit import VisionTransformer
from trainer.session import Session
from trainer.updates.recomputation import Recomputation, checkpoint_gradients
from trainer.updates.update import Update


def networks() -> dict[str, Callable[[], nn.Module]]:
    return {
        "resnet8": lambda: ResNet8(width=4).build(10),
        "vit": lambda: VisionTransformer(16, 3, 2, "rescaled", 10),
    }


def test_timms_networks_have_the_verb_and_keep_their_statistics() -> None:
    timm = pytest.importorskip("timm")
    images, found = torch.randn(4, 3, 32, 32), []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        network = timm.create_model("resnet18", num_classes=10)
        if checkpointed:
            checkpoint_gradients(network, "timm")
        update = Update(torch.optim.SGD(network.parameters(), lr=0.1), recomputation=Recomputation(network))
        update.backward(network(images).square().mean())
        update.step()
        found.append(network.state_dict())
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


@pytest.mark.parametrize("name", networks())
def test_gradients_and_statistics_are_those_of_kept_activations(name: str) -> None:
    images = torch.randn(4, 3, 32, 32)
    found = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        network = networks()[name]()
        recomputation = None
        passes = [0]
        blocks = network.blocks
        assert isinstance(blocks, nn.Sequential)
        blocks[1].register_forward_pre_hook(lambda *_, seen=passes: seen.__setitem__(0, seen[0] + 1))
        if checkpointed:
            checkpoint_gradients(network, name)
            recomputation = Recomputation(network)
        update = Update(torch.optim.SGD(network.parameters(), lr=0.1), recomputation=recomputation)
        for _ in range(2):
            update.optimizer.zero_grad()
            update.backward(network(images).square().mean())
            update.step()
        network.eval()(images)
        # The last one, of an evaluation, has no backward pass.
        assert passes[0] == (5 if checkpointed else 3)
        found.append(network.state_dict())
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_a_checkpointed_run_is_the_run(recipe: Callable[..., Run], train_run: Callable[..., Session]) -> None:
    small: dict[str, Any] = {"model": {"name": "resnet8", "width": 4}, "epochs": 1, "budget": 0.25}
    common = {**small, "precision": "fp32", "threads": 1, "accumulate": 2, "selection": "foms"}
    plain, checkpointed = (
        train_run(recipe(**common, gradient_checkpointing=on, name=f"run{on}")) for on in (False, True)
    )
    assert checkpointed.fingerprint() == plain.fingerprint()


def test_networks_without_the_verb_and_compiled_runs_are_refused(
    recipe: Callable[..., Run], tmp_path: Any
) -> None:
    run = recipe(model="lenet", gradient_checkpointing=True)
    with pytest.raises(RunError, match="model lenet lacks it: take another --model, or leave it out"):
        open_session(run, RunFolder(tmp_path / "run", run))
    with pytest.raises(RunError, match="gradient_checkpointing is for runs without --compile"):
        recipe(gradient_checkpointing=True, compile=True)
