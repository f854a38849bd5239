"""Selection in the loop: what samplers receive, and repeating it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from selecting_sessions import ALWAYS, NAMES, Recipe, raw_batches_of

from trainer import checkpoint
from trainer.errors import InterruptedRunError
from trainer.feedback import FeedbackBuffer
from trainer.loop import train
from trainer.methods import Losses
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

Train = Callable[..., Session]
Watch = Callable[..., Any]
SMALL = {"name": "resnet8", "width": 4}


@pytest.mark.parametrize("augment", ["mixup", "cutmix", "ricap"])
def test_feedback_reaches_the_samples_that_made_it(session: Callable[..., Session], augment: str) -> None:
    """The published code writes an image's score to the sample that stood at its place in the order."""
    made = session(augment=["none", augment])
    raw = next(raw_batches_of(made))
    batch = raw.augment()
    assert batch.mixture is not None
    loss = torch.rand(batch.mixture.partners.shape, generator=torch.Generator().manual_seed(0))
    losses = Losses(loss, torch.exp(-loss), loss, loss > 0.5)
    buffer = FeedbackBuffer(World())
    buffer.add(batch, losses)
    heard = buffer.drain(1).feedback
    assert heard.coefficient is not None
    # By definition: image i, whose constituent j has a coefficient, credits that constituent with its loss.
    expected: dict[int, float] = {}
    for image in range(len(batch.ids)):
        for j, partner in enumerate(batch.mixture.partners[image]):
            owner, coefficient = int(batch.ids[partner]), batch.mixture.coefficients[image, j]
            expected[owner] = expected.get(owner, 0.0) + float(loss[image, j] * coefficient)

    def told(ids: np.ndarray, values: np.ndarray) -> dict[int, float]:
        sums: dict[int, float] = {}
        for sample, value in zip(ids.tolist(), values.tolist(), strict=True):
            sums[sample] = sums.get(sample, 0.0) + value
        return sums

    ours = told(heard.ids, heard.loss * heard.coefficient)
    published = told(batch.ids, (loss * batch.mixture.device_coefficients).sum(dim=1).numpy())
    assert ours == pytest.approx(expected, rel=1e-5)
    assert published != pytest.approx(expected, rel=1e-2)


def test_candidates_that_are_not_chosen_are_heard_once_by_their_scores(
    session: Callable[..., Session],
) -> None:
    made = session(selection={"name": "greedy", **ALWAYS}, augment=["none", "mixup"])
    raw = next(raw_batches_of(made))
    (ready,) = made.selector.ready(raw, made.stage, select=True)
    made.train(ready)
    heard = made.feedback.drain(1)
    feedback = heard.feedback
    assert ready.choice is not None
    chosen = set(raw.ids[ready.choice.indices.numpy()].tolist())
    assert set(heard.trained.tolist()) == chosen
    assert set(feedback.ids[feedback.trained].tolist()) == chosen
    assert sorted(feedback.ids[~feedback.trained].tolist()) == sorted(set(raw.ids.tolist()) - chosen)
    assert len(heard.losses) == 1


def test_an_order_sampler_and_a_selection_learn_together(recipe: Recipe, train_run: Train) -> None:
    run = recipe(sampler="p_sgd", selection="foms", augment=["ricap"], epochs=2, budget=0.5, model=SMALL)
    session = train_run(run)
    seen = np.isfinite(session.samples.last_loss)
    # Every candidate was heard of, trained or not.
    assert seen.mean() > 0.9
    assert (session.samples.times_seen == 0).sum() > (~seen).sum()


def test_a_sampler_goes_through_its_course_though_less_is_loaded_than_planned(
    recipe: Recipe, train_run: Train
) -> None:
    # Nothing is selected before half of the run: far fewer samples are loaded than there might have been.
    late = {"name": "foms", "start": 0.5}
    small = {"sampler": "infobatch", "model": SMALL, "evaluate_every": 100}
    run = recipe(**small, selection=late, epochs=8, budget=0.5, round_length=0.25)
    session = train_run(run)
    sampler = checkpoint.load(session.folder.checkpoint)["sampler"]
    assert session.plan.before(sampler["round"]) < 0.8 * session.plan.total
    assert sampler["heard.progress"] == 1
    # The pass under way leaves nothing out and multiplies nothing, as in the last eighth of every run.
    assert (sampler["memory.pending.weights"] == 1).all()
    plain = train_run(recipe(**small, name="plain", epochs=2))
    assert "heard.progress" not in checkpoint.load(plain.folder.checkpoint)["sampler"]


@pytest.mark.parametrize("name", [*NAMES, "compute"])
def test_a_stopped_selecting_run_goes_on_to_the_same_weights(
    recipe: Recipe, train_run: Train, watch: Watch, name: str
) -> None:
    settings: dict[str, Any] = {
        "selection": "foms" if name == "compute" else name,
        "sampler": "p_sgd",
        "augment": ["mixup"],
        "model": SMALL,
        "log_every": 1,
        "epochs": 1,
        "batch_size": 32,
        "precision": "fp32",
    }
    if name in ("selective_backprop", "foms"):
        settings["selection"] = {"name": name, "start": 0.1}
    if name == "compute":
        # What scoring is measured to cost differs between runs; a resumed one keeps its own.
        settings |= {"counts": "compute", "selection": {"name": "foms", "pixels": 1.0}}
    run = recipe(name="stopped", **settings)
    folder = RunFolder(run.runs_dir / folder_name(run), run)
    with pytest.raises(InterruptedRunError):
        train(run, folder, World(), watch(stop_at=9))
    session = train_run(run)
    if name == "compute":
        ledger = json.loads((session.folder.path / "ledger.json").read_text())
        assert ledger["spent"] == pytest.approx(
            ledger["trained"] + sum(ledger["score_costs"].values()) * ledger["scored"]
        )
        return
    whole = train_run(recipe(name="whole", **settings))
    assert session.fingerprint() == whole.fingerprint()
    assert session.ledger.scored == whole.ledger.scored
    np.testing.assert_array_equal(session.samples.times_seen, whole.samples.times_seen)


def test_a_weighting_follows_its_schedule(recipe: Recipe, train_run: Train) -> None:
    settings: dict[str, Any] = {"epochs": 1, "budget": 0.3, "batch_size": 32, "model": SMALL}
    # So short a run never reaches 80% of accuracy: q is s, and only another threshold tells the two apart.
    always = {"name": "ordered_sgd", "thresholds": [0.001]}
    runs = {
        "plain": recipe(name="plain", round_length=0.2, **settings),
        "late": recipe(name="late", round_length=0.2, selection={**always, "start": 0.999}, **settings),
        "on": recipe(name="on", round_length=0.2, selection=always, **settings),
    }
    weights = {name: train_run(run).fingerprint() for name, run in runs.items()}
    assert weights["late"] == weights["plain"] != weights["on"]
