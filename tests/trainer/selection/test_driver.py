"""Selection in the loop: what is scored, chosen, mixed, trained, counted, heard and repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.batch import resolve
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.resolution import Stage
from pipeline.sources import ArraySource
from trainer import checkpoint
from trainer.build import build
from trainer.config import Run
from trainer.data import Data
from trainer.errors import InterruptedRunError, RunError
from trainer.feedback import FeedbackBuffer
from trainer.loop import train
from trainer.methods import Losses
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.selection import SELECTIONS
from trainer.selection.driver import Ready
from trainer.selection.pool import Rows
from trainer.session import Session
from trainer.warmup import warm_up

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]

NAMES = sorted(set(SELECTIONS) - {"all", "rho_loss"})
ALWAYS = {"start": 0.0, "end": 1.0, "interrupt": 0}
SMALL = {"name": "resnet8", "width": 4}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """96 images of one grey level each, which is twice the sample's id."""
    path = tmp_path_factory.mktemp("tiles") / "train.beton"
    levels = (2 * np.arange(96)).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (96, 12, 12, 3)).copy()
    labels = np.arange(96) % 5
    convert(ArraySource("tiles", "train", "levels", tuple("abcde"), labels, images), path, ConvertOptions())
    opened = open_dataset(path)
    return Data(opened, opened)


@pytest.fixture
def session(tiles: Data, recipe: Recipe, tmp_path: Path) -> Callable[..., Session]:
    """Build a session on the tiles, rehearsed, with nothing trained."""

    def make(**entries: Any) -> Session:
        table = {"batch_size": 16, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "precision": "fp32"}
        run = recipe(**{**table, "augment": ["none"], **entries})
        made = build(run, RunFolder(tmp_path / "run", run), tiles, World(), torch.device("cpu"))
        warm_up(made)
        made.begin_round()
        return made

    return make


def _raws(session: Session) -> Any:
    assert session.order is not None
    selector = session.selector
    return session.loader.raw_batches(
        session.order, augment=selector.augmentation, stage=selector.stage(session.stage)
    )


def _many(session: Session) -> Iterator[Ready]:
    """Every batch that three rounds give to train on."""
    for _ in range(3):
        for raw in _raws(session):
            yield from session.selector.ready(raw, session.stage, session.selects)
        session.begin_round()


# --- What is scored, chosen and mixed --------------------------------------------------------------------


@pytest.mark.parametrize("augment", ["ricap", "mixup", "cutmix"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "ordered_sgd"])
def test_what_is_chosen_is_mixed_with_its_own_labels_and_shares(
    session: Callable[..., Session], name: str, augment: str
) -> None:
    """Arazo et al.'s released code trains unmixed images with mixed labels, or cuts them by another batch's
    cuts."""
    bank = {"bank": 25} if name.startswith("impon") else {}
    made = session(selection={"name": name, **ALWAYS, **bank}, augment=["none", augment])
    seen = 0
    for ready in _many(made):
        batch = ready.batch
        assert batch.mixture is not None
        assert isinstance(batch.ids, np.ndarray) == (ready.choice is None)
        (ids,) = resolve([batch.ids])
        owners = ids[batch.mixture.partners]
        np.testing.assert_array_equal(batch.constituents(batch.targets["label"]).numpy(), owners % 5)
        levels = batch.images[:, 0].numpy() * 255 / 2
        # An image of grey tiles is, on average, its constituents' levels weighted by their coefficients.
        expected = (owners * batch.mixture.coefficients).sum(axis=1)
        np.testing.assert_allclose(levels.mean(axis=(1, 2)), expected, atol=1e-3)
        if augment != "mixup":
            for image, whose in zip(levels, owners, strict=True):
                assert set(np.rint(image.ravel()).astype(int)) <= set(whose.tolist())
        seen += 1
    assert seen > 0


def test_samples_without_targets_are_chosen_from(session: Callable[..., Session]) -> None:
    made = session(selection={"name": "impon", "bank": 25, **ALWAYS})
    raw = replace(next(_raws(made)), targets={})
    (ready,) = made.selector.ready(raw, made.stage, True)
    assert ready.choice is not None
    assert len(ready.batch) == len(ready.batch.images) == 16
    assert dict(ready.batch.targets) == {}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_scoring_sees_the_crop_that_is_trained_unmixed_and_leaves_no_trace(
    session: Callable[..., Session], mode: str
) -> None:
    foms = {"name": "foms", "pixels": 1.0, **ALWAYS}
    made = session(selection=foms, augment=["standard", "ricap"], scoring=mode)
    state = {name: value.clone() for name, value in made.encoder.state_dict().items()}
    raw = next(_raws(made))
    light = raw.augment()
    outputs, losses, images = made.selector.score(light, made.stage)
    assert torch.equal(images, light.images)
    made.encoder.train(mode == "train")
    with torch.no_grad():
        expected = made.encoder(light.images)
    torch.testing.assert_close(outputs, expected)
    own = torch.nn.functional.cross_entropy(expected, torch.from_numpy(raw.ids % 5), reduction="none")
    torch.testing.assert_close(losses.loss[:, 0], own)
    if mode == "eval":
        for name, value in made.encoder.state_dict().items():
            assert torch.equal(value, state[name])
        made.encoder.train()
    made.encoder.load_state_dict(state)
    made.selector.score(light, made.stage)
    for name, value in made.encoder.state_dict().items():
        assert torch.equal(value, state[name])
    assert made.encoder.training


def test_scoring_at_a_low_resolution_is_antialiased_and_trains_at_the_full_one(
    session: Callable[..., Session],
) -> None:
    made = session(selection={"name": "foms", "pixels": 0.5, **ALWAYS})
    raw = next(_raws(made))
    light = raw.augment()
    _, _, images = made.selector.score(light, made.stage)
    assert images.shape == (32, 3, 6, 6)
    torch.testing.assert_close(images.mean(dim=(2, 3)), light.images.mean(dim=(2, 3)))
    (ready,) = made.selector.ready(raw, made.stage, select=True)
    assert ready.batch.images.shape == (16, 3, 12, 12)
    assert made.ledger.scored_at == {6: 32}


def test_candidates_come_at_a_level_and_the_chosen_at_full_size(recipe: Recipe, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "levels.beton"
    images = rng.integers(0, 256, (96, 24, 24, 3), dtype=np.uint8)
    source = ArraySource("noise", "train", "noise", ("a", "b"), np.arange(96) % 2, images)
    convert(source, path, ConvertOptions(encoding="raw", levels=(12,)))
    data = Data(open_dataset(path), open_dataset(path))
    foms = {"name": "foms", "pixels": 0.5, **ALWAYS}
    run = recipe(batch_size=16, selection=foms, augment=["random_resized_crop"])
    made = build(run, RunFolder(tmp_path / "run", run), data, World(), torch.device("cpu"))
    warm_up(made)
    made.begin_round()
    raw = next(_raws(made))
    assert raw.images.shape[2:] == (12, 12)
    (ready,) = made.selector.ready(raw, made.stage, select=True)
    assert ready.choice is not None
    assert ready.batch.images.shape == (16, 3, 24, 24)
    # The same windows, at the other size: the crops of the full images themselves.
    places = ready.choice.places.numpy()
    whole = next(made.loader.batches(made.order, augment=made.selector.augmentation, stage=Stage(24)))  # type: ignore[arg-type]
    expected = whole.images[places]
    assert torch.equal(ready.batch.images, expected)
    made.close()


# --- What is heard ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", ["mixup", "cutmix", "ricap"])
def test_feedback_reaches_the_samples_that_made_it(session: Callable[..., Session], augment: str) -> None:
    """The published code writes an image's score to the sample that stood at its place in the order."""
    made = session(augment=["none", augment])
    raw = next(_raws(made))
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
    raw = next(_raws(made))
    (ready,) = made.selector.ready(raw, made.stage, select=True)
    made.train(ready)
    heard = made.feedback.drain(1)
    feedback = heard.feedback
    assert ready.choice is not None
    chosen = set(raw.ids[ready.choice.places.numpy()].tolist())
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
    sampler = checkpoint.load(session.folder.checkpoint, session.device)["sampler"]
    assert session.plan.before(sampler["round"]) < 0.8 * session.plan.total
    assert sampler["heard.progress"] == 1
    # The pass under way leaves nothing out and multiplies nothing, as in the last eighth of every run.
    assert (sampler["memory.pending.weights"] == 1).all()
    plain = train_run(recipe(**small, name="plain", epochs=2))
    assert "heard.progress" not in checkpoint.load(plain.folder.checkpoint, plain.device)["sampler"]


# --- Repeating -------------------------------------------------------------------------------------------


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


# --- What can't work -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            {"selection": "foms", "batch_size": 64},
            "foms loads 128 .* lower --batch-size or --selection.ratio$",
        ),
        ({"selection": "impon"}, "impon loads 200 .* lower --batch-size or --selection.bank$"),
        (
            {"selection": "selective_backprop", "budget": 0.1, "epochs": 100},
            "selective_backprop loads 160 .* lower --batch-size, or raise --selection.keep$",
        ),
    ],
)
def test_more_candidates_than_samples_are_refused(
    session: Callable[..., Session], entries: dict[str, Any], line: str
) -> None:
    with pytest.raises(RunError, match="candidates per step, and this set has 96 samples") as caught:
        session(**entries)
    assert re.search(line, str(caught.value))


def test_a_selection_of_varying_size_is_refused_on_several_ranks(
    tiles: Data, recipe: Recipe, tmp_path: Path
) -> None:
    run = recipe(selection="selective_backprop", batch_size=8)
    with pytest.raises(RunError, match=r"differs between ranks.*use selective_backprop_exact, foms"):
        build(run, RunFolder(tmp_path / "run", run), tiles, World(0, 2), torch.device("cpu"))


def test_features_of_a_network_without_an_encoders_verbs_are_refused(session: Callable[..., Session]) -> None:
    with pytest.raises(RunError, match=r"features are those of a network with .* SqueezeNet lacks them"):
        session(
            model={"name": "torchvision", "arch": "squeezenet1_1"},
            selection="divbs",
            resolution={"name": "constant", "pixels": 32},
        )


def test_waiting_samples_keep_their_weights_whatever_order_they_come_from() -> None:
    def rows(count: int, weights: torch.Tensor | None) -> Rows:
        targets = {"label": torch.zeros(count, dtype=torch.int64)}
        return Rows(np.arange(count), torch.zeros(count, 3, 2, 2), targets, weights)

    weighted, plain = rows(2, torch.tensor([0.5, 2.0])), rows(1, None)
    assert (weighted + plain).weights.tolist() == [0.5, 2.0, 1.0]  # type: ignore[union-attr]
    assert (plain + weighted).weights.tolist() == [1.0, 0.5, 2.0]  # type: ignore[union-attr]
    assert (plain + plain).weights is None


def test_a_model_that_cannot_take_a_resolution_is_refused(session: Callable[..., Session]) -> None:
    with pytest.raises(RunError, match=r"must take images of \d+ pixels"):
        session(
            model={"name": "torchvision", "arch": "vit_b_16", "image_size": 32},
            resolution={"name": "progressive", "lowest": 6},
        )
