"""A batch's whole way on the device, which never waits for it: score, select, mix, train, feed back."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from further_networks import maker
from torch import Tensor

from pipeline import Loader, RawBatch, compose, open_dataset
from pipeline.resolution import Stage
from samplers import Order, Scores
from trainer.account import Account, Ledger
from trainer.budget.costs import Costs
from trainer.feedback import FeedbackBuffer
from trainer.inference.scorer import Scorer
from trainer.methods import METHODS, Method
from trainer.methods.simsiam import SimSiam
from trainer.models.resnet import ResNet8
from trainer.parallel import World
from trainer.selection import SELECTIONS, Setting, Terms, Weighting
from trainer.selection.driver import Ready, Selector
from trainer.selection.hard_augment import HardAugment
from trainer.selection.pairs import PairSelector
from trainer.step import Step

BATCH, SAMPLES, CLASSES = 8, 1280, 10
META = torch.device("meta")
STAGE = Stage(28)


@dataclasses.dataclass
class Parts:
    """The parts of a session, with network and selection on the meta device."""

    loader: Loader
    method: Method
    feedback: FeedbackBuffer
    selector: Selector


@pytest.fixture
def parts(fashion: Path, tmp_path: Path, name: str, augment: str) -> Parts:
    options = {}
    if name == "rho_loss":
        losses = np.zeros(SAMPLES, np.float32)
        Scores(losses, "irreducible_loss", {"trained": 0}).save(tmp_path / "irreducible.npz")
        options = {"irreducible": tmp_path / "irreducible.npz"}
    part = SELECTIONS[name](**options).bind(Terms(0.5, 4, BATCH))
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    augmentation = compose(
        ["standard", augment] if augment != "standard" else ["standard"], (0.5,) * 3, (0.5,) * 3
    )
    with META:
        encoder = ResNet8(width=4).build(classes=CLASSES)
    method = METHODS["supervised"]().build(encoder)
    setting = Setting(BATCH, SAMPLES, META, World(), encoder)
    network = ResNet8(width=4)
    selection = part.build(dataclasses.replace(setting, network=network, further=maker(CLASSES, META)))
    loader = Loader(data, augment=augmentation, batch_size=BATCH * round(part.ratio), device="cpu")
    feedback = FeedbackBuffer(World())
    made = Selector
    if isinstance(part, HardAugment):
        with META:
            method = SimSiam(out=8).build(encoder)
        made = partial(PairSelector, bf16=False, compiled=False)  # type: ignore[assignment]
    selector = made(
        part,
        selection,
        augmentation=augmentation,
        scorer=Scorer(encoder, "eval", bf16=False, keeps_features=part.features),
        method=method,
        loader=loader,
        account=Account(SAMPLES, SAMPLES, BATCH, "trained", Costs({}), ledger=Ledger(META)),
        feedback=feedback,
        world=World(),
        views=1,
        batch_size=BATCH,
        augment_seed=0,
        seed=0,
        reread=False,
    )
    return Parts(loader, method, feedback, selector)


def _on_meta(given: Any) -> Any:
    if isinstance(given, Tensor):
        return given.to(META)
    if isinstance(given, dict):
        return {key: _on_meta(value) for key, value in given.items()}
    if isinstance(given, tuple):
        return tuple(_on_meta(value) for value in given)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        fields = {item.name: _on_meta(getattr(given, item.name)) for item in dataclasses.fields(given)}
        return type(given)(**fields)
    return given


@pytest.mark.parametrize(
    ("name", "augment"),
    [
        (name, augment)
        for name in SELECTIONS
        for augment in ("standard", "mixup", "cutmix", "ricap")
        # Views aren't mixed.
        if name != "hard_augment" or augment == "standard"
    ],
)
def test_a_batch_is_scored_selected_mixed_and_trained_without_a_wait(
    parts: Parts, name: str, augment: str
) -> None:
    """On the meta device a wait (.item(), nonzero, a boolean index, .cpu()) and a CPU operand raise."""
    selector, loader = parts.selector, parts.loader
    selection = selector.selection
    order = Order(0, np.arange(loader.batch_size, dtype=np.int64))
    raw: RawBatch = _on_meta(next(loader.raw_batches(order, augment=selector.views, stage=STAGE)))
    optimizer = torch.optim.SGD(parts.method.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    step = Step(parts.method, parts.method, optimizer, nullcontext(), Ledger(META))
    batches = selector.ready(raw, STAGE, True) if selector.loads_more else iter([Ready(raw.augment())])
    if not selector.part.exact:
        with pytest.raises(NotImplementedError, match="meta"):
            next(batches)
        return
    trained = 0
    for ready in batches:
        weighting = selection if isinstance(selection, Weighting) else None
        losses = step(ready.batch, weighting, progress=0.5)
        if selector.loads_more:
            selection.observe(losses, ready.batch, ready.choice)
        parts.feedback.add(ready.batch, losses)
        assert ready.batch.images.device.type == "meta"
        trained += len(ready.batch.images)
    assert trained == BATCH
    assert len(parts.feedback) == 1
