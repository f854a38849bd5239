"""Selection in the loop: what is scored, chosen and mixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from selecting_sessions import ALWAYS, NAMES, Recipe, raw_batches_of

from pipeline.batch import PendingIds
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.resolution import Stage
from pipeline.sources import ArraySource
from trainer.build import build
from trainer.data import Data
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.selection.driver import Ready
from trainer.session import Session
from trainer.warmup import warm_up


def _many(session: Session) -> Iterator[Ready]:
    """Every batch that three rounds give to train on."""
    for _ in range(3):
        for raw in raw_batches_of(session):
            yield from session.selector.ready(raw, session.stage, session.selects)
        session.begin_round()


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
        ids = batch.ids.resolve() if isinstance(batch.ids, PendingIds) else batch.ids
        owners = ids[batch.mixture.partners]
        np.testing.assert_array_equal(batch.constituents(batch.targets["label"]).numpy(), owners % 5)
        levels = batch.images[:, 0].numpy() * 255 / 2
        # An image of gray tiles is, on average, its constituents' levels weighted by their coefficients.
        expected = (owners * batch.mixture.coefficients).sum(axis=1)
        np.testing.assert_allclose(levels.mean(axis=(1, 2)), expected, atol=1e-3)
        if augment != "mixup":
            for image, whose in zip(levels, owners, strict=True):
                assert set(np.rint(image.ravel()).astype(int)) <= set(whose.tolist())
        seen += 1
    assert seen > 0


def test_samples_without_targets_are_chosen_from(session: Callable[..., Session]) -> None:
    made = session(selection={"name": "impon", "bank": 25, **ALWAYS})
    raw = replace(next(raw_batches_of(made)), targets={})
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
    raw = next(raw_batches_of(made))
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
    raw = next(raw_batches_of(made))
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
    raw = next(raw_batches_of(made))
    assert raw.images.shape[2:] == (12, 12)
    (ready,) = made.selector.ready(raw, made.stage, select=True)
    assert ready.choice is not None
    assert ready.batch.images.shape == (16, 3, 24, 24)
    # The same windows, at the other size: the crops of the full images themselves.
    places = ready.choice.indices.numpy()
    whole = next(made.loader.batches(made.order, augment=made.selector.augmentation, stage=Stage(24)))  # type: ignore[arg-type]
    expected = whole.images[places]
    assert torch.equal(ready.batch.images, expected)
    made.close()
