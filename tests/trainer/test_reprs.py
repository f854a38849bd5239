"""Public objects in a notebook: one short line each, with their content in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline import Loader, compose, open_dataset
from samplers import SAMPLERS, Feedback, Order, Plan
from samplers.service import Service
from trainer import Losses, RunFolder, open_session
from trainer.config import Run


def test_a_run_shows_what_it_trains_and_what_is_not_the_default(recipe: Callable[..., Run]) -> None:
    run = recipe(sampler="p_sgd", augment=["standard", "ricap"])
    assert repr(run) == (
        "Run(custom: resnet8 on fashion_mnist, 0.5 of 4 epochs in batches of 64, sampler p_sgd, "
        "augment standard + ricap, seed 0)"
    )


def test_hours_and_compute_are_said(recipe: Callable[..., Run]) -> None:
    assert "on fashion_mnist, 1.5 hours in batches of 64" in repr(recipe(budget=1.0, budget_hours=1.5))
    assert ", 0.5 of the compute of 4 epochs in batches of 64" in repr(recipe(counts="compute"))


def test_a_session_and_its_parts_show_where_they_are(recipe: Callable[..., Run]) -> None:
    run = recipe(sampler="p_sgd", augment=["standard", "ricap"], precision="fp32")
    folder = RunFolder(run.runs_dir / "x", run)
    with open_session(run, folder) as session:
        rounds = session.rounds()
        step = next(session.steps(next(rounds)))
        assert repr(session) == (
            f"Session(resnet8 on fashion_mnist: step 1 of 40, 0 rounds, 2.5% of the budget, cpu fp32, "
            f"{run.runs_dir / 'x'})"
        )
        assert repr(session.account) == (
            "Account(64 of 2,560 samples of trained, 2.5%; 64 trained, 0 scored, 1 steps)"
        )
        assert repr(session.folder) == f"RunFolder({run.runs_dir / 'x'}, without a checkpoint)"
        assert repr(session.data.train.card) == (
            "Card(fashion_mnist train: 1,280 raw images of 28x28 px, 10 classes)"
        )
        assert repr(session.data.train).endswith("/fashion_mnist/train.beton: 1,280 images)")
        assert repr(session.sampler) == "Service(inline, lead 0: 1 of 4 rounds)"
        assert repr(session.order) == "Order(round 0: 640 ids)"
        assert repr(step.losses) == "Losses(64x4 loss, p_true, error, correct on cpu)"
        raw = next(session.candidates())
        assert repr(raw) == "RawBatch(64x3x28x28 uint8 on cpu, label, mixed from 4 each)"
        assert repr(raw.augment()) == "Batch(64x3x28x28 float32 on cpu, label, mixed from 4 each)"
        assert repr(raw.mixture) == "Mixture(64 images of 4 constituents)"


def test_a_loader_shows_its_batches_and_augmentation(recipe: Callable[..., Run]) -> None:
    run = recipe()
    assert run.data_dir is not None
    data = open_dataset(run.data_dir / "fashion_mnist" / "train.beton")
    augment = compose(["none", "cutout"], data.card.mean, data.card.std)
    with Loader(data, augment=augment, batch_size=16, device="cpu") as loader:
        shown = repr(loader)
    assert shown.startswith("Loader(1,280 samples in batches of 16 on cpu, augment [")
    assert "Cutout(" in shown


@pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_a_line(name: str) -> None:
    plan = Plan(60, epochs=4, budget=0.5, batch_size=8, labels=np.zeros(60, np.int64))
    sampler = SAMPLERS[name]().build(plan)
    sampler.next_order()
    shown = repr(sampler)
    assert "\n" not in shown
    assert shown.startswith(type(SAMPLERS[name]()).__name__)
    assert "on 60 samples: 1 of" in shown
    assert "labels" not in repr(plan)
    with Service(SAMPLERS[name]().build(plan), plan, mode="thread", lead=1) as service:
        assert repr(service).startswith("Service(thread, lead 1: 0 of ")


def test_arrays_and_tensors_are_counted_and_not_listed() -> None:
    ids, ones = np.arange(20), np.ones(20, np.float32)
    assert repr(Order(3, ids, ones, ids, 1.25)) == (
        "Order(round 3: 20 ids, weighted, 20 to score, lr_scale 1.25)"
    )
    assert repr(Feedback(7, ids, ones, None, ids > 3)) == "Feedback(step 7: 20 rows of ids, loss, trained)"
    assert repr(Losses(torch.zeros(20, 1))) == "Losses(20x1 loss on cpu)"
