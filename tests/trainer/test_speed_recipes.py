"""The recipes of short trainings: their arithmetic, and runs on made sets of their number of classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from trainer import RunFolder, open_session, recipe
from trainer.config import Run
from trainer.models import WhitenedCNN
from trainer.optimizers.muon import Muon
from trainer.schedules import Linear


def narrow(run: Run) -> Run:
    """The recipe with a network of few channels, on small batches."""
    assert isinstance(run.model, WhitenedCNN)
    # Learning rates of the head go with the outputs' factor.
    model = replace(run.model, widths=(8, 16, 16), scale=1 / run.model.widths[-1])
    return replace(run, model=model, batch_size=100, device="cpu", threads=1)


@pytest.mark.parametrize(("name", "epochs"), [("cifar10_speed", 8), ("cifar100_speed", 16)])
def test_rates_are_the_scripts_times_its_batch(name: str, epochs: int) -> None:
    run = recipe.load(name)
    assert isinstance(run.optimizer, Muon)
    assert (run.epochs, run.budget, run.batch_size) == (epochs, 1, 2000)
    assert run.optimizer.rest_lr == 0.67 * 2000
    assert run.optimizer.norm_bias_lr == 0.053 * 2000
    assert run.optimizer.weight_decay == 2e-6 * 2000
    # The last of its steps is made at a rate of 1 / steps.
    assert run.schedule == Linear(final=1 / (25 * epochs))
    # Three epochs of the whitening layer's bias.
    assert run.train_until == (f"whiten={3 / epochs:g}",)


def test_the_recipe_of_96_percent_has_the_scripts_rates_for_the_half_that_is_trained() -> None:
    run = recipe.load("cifar10_speed96")
    per_kilostep = 1024 * (1 + 1 / (1 - 0.85))
    assert run.optimizer.lr == pytest.approx(9 / per_kilostep * 512, rel=2e-3)
    assert run.optimizer.norm_bias_lr == pytest.approx(64 * run.optimizer.lr, rel=2e-3)  # type: ignore[attr-defined]
    assert run.optimizer.weight_decay == pytest.approx(0.012 * 1024 / per_kilostep, rel=2e-3)  # type: ignore[attr-defined]
    assert run.batch_size * run.selection.ratio == 1024


@pytest.mark.parametrize(("name", "classes"), [("cifar100_speed", 100), ("cifar10_speed_cpu", 10)])
def test_a_recipe_trains_on_a_made_set_of_its_classes(name: str, classes: int, tmp_path: Path) -> None:
    colors = np.random.default_rng(1).integers(30, 226, (classes, 1, 1, 3))
    for split, each in (("train", 10 * 100 // classes), ("test", 2)):
        labels = np.repeat(np.arange(classes), each)
        noise = np.random.default_rng(each).normal(0, 6, (len(labels), 32, 32, 3))
        images = (colors[labels] + noise).clip(0, 255).astype(np.uint8)
        names = tuple(f"class {number}" for number in range(classes))
        convert(
            ArraySource("made", split, "planted", names, labels, images),
            tmp_path / f"{split}.beton",
            ConvertOptions(),
        )
    run = narrow(recipe.load(name))
    run = replace(run, data=str(tmp_path / "train.beton"), epochs=8, evaluate_every=8)
    with open_session(run, RunFolder(tmp_path / "run", run)) as session:
        for current in session.rounds():
            for _ in session.steps(current):
                pass
            session.finish(current)
        assert session.ledger.trained == 8000
        found = session.evaluate()["accuracy"]
    # Chance is 1 / classes.
    assert found > 4 / classes
