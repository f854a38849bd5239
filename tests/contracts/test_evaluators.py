"""Contract suite of evaluators, at their defaults but for what needs a larger set."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from two_ranks import run_two_ranks

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from trainer import RunFolder, Session, open_session
from trainer.config import Run
from trainer.errors import RunError
from trainer.evaluation import build_evaluators, measure, targets_of
from trainer.evaluators import EVALUATORS, EvaluatorConfig
from trainer.inference.averaged import Averaged
from trainer.inference.predict import EverySample
from trainer.interrupt import Stopped
from trainer.recipe import dumps, from_table
from trainer.slots import SLOTS

OPTIONS = {"knn": {"k": 20}}
"""Options for a set of 128 images."""

RANK = """
import json
import os
import sys
from pathlib import Path

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from trainer import RunFolder, open_session
from trainer.parallel import join, leave
from trainer.recipe import load

run, out = load(sys.argv[1]), Path(sys.argv[2])
world = join(run.device)
with open_session(run, RunFolder(out, run), world) as session:
    found = {name: value.hex() for name, value in session.evaluate().items()}
    (out / f"rank{os.environ['RANK']}.json").write_text(json.dumps([found, session.ledger.evaluated]))
leave()
"""


def data_of(config: EvaluatorConfig, tiny: Callable[..., Path], folder: Path) -> Path:
    """Make a set of the targets that an evaluator needs; returns the training set."""
    kind = config.targets.get("label", "class")
    if kind == "class":
        return tiny()
    rng = np.random.default_rng(0)
    for split, samples in (("train", 128), ("test", 48)):
        images = rng.integers(0, 256, (samples, 8, 8, 3), dtype=np.uint8)
        values, classes = rng.standard_normal((samples, 2), np.float32), ()
        if kind == "multi_label":
            values, classes = rng.integers(0, 2, (samples, 3), np.uint8), ("x", "y", "z")  # type: ignore[assignment]
        source = ArraySource(kind, split, "noise", classes, values, images, kind=kind)
        convert(source, folder / f"{kind}-{split}.beton", ConvertOptions(overwrite=True))
    return folder / f"{kind}-train.beton"


def a_run(data: Path, *evaluators: str) -> Run:
    method = "supervised" if evaluators[0] not in SLOTS["method"].table else evaluators[0]
    table = {
        "data": str(data),
        "test_data": str(data.with_name(data.name.replace("train", "test"))),
        "method": method,
        "evaluator": [{"name": name, **OPTIONS.get(name, {})} for name in evaluators],
        "model": {"name": "resnet8", "width": 4},
        "batch_size": 16,
        "epochs": 4,
        "device": "cpu",
        "precision": "fp64",
        "threads": 1,
    }
    return from_table(table, where="test")


@pytest.fixture(params=EVALUATORS)
def config(request: pytest.FixtureRequest) -> EvaluatorConfig:
    made: EvaluatorConfig = EVALUATORS[request.param](**OPTIONS.get(request.param, {}))
    return made


@pytest.fixture
def session(config: EvaluatorConfig, tiny: Callable[..., Path], tmp_path: Path) -> Iterator[Session]:
    name = SLOTS["evaluator"].part_name(config)
    run = a_run(data_of(config, tiny, tmp_path), name)
    with open_session(run, RunFolder(tmp_path / "run", run)) as opened:
        yield opened


def test_is_a_frozen_dataclass_with_a_description(config: EvaluatorConfig) -> None:
    assert dataclasses.is_dataclass(config)
    assert hash(type(config)()) == hash(type(config)())
    assert inspect.cleandoc(type(config).__doc__ or "").partition("\n")[0].endswith(".")


def test_metrics_have_names_of_their_own_and_parts_of_what_is_there(config: EvaluatorConfig) -> None:
    names = [metric.name for metric in config.metrics]
    assert names
    assert len(set(names)) == len(names)
    assert {metric.part_of for metric in config.metrics} <= {None, *names}
    assert config.metrics[0].part_of is None


def test_every_metric_is_one_that_was_declared_and_the_primary_one_is_there(session: Session) -> None:
    (evaluator,), run = session.evaluators, session.run
    yielded = list(evaluator.run(session.encoder, lambda: False))
    names = [name for name, _ in yielded]
    assert len(set(names)) == len(names)
    assert set(names) <= {metric.name for metric in run.metrics}
    assert run.metric.name in names
    for metric in run.metrics:
        value = dict(yielded).get(metric.name)
        if value is not None:
            assert type(value) is float
            assert math.isfinite(value)
            assert not metric.percent or 0 <= value <= 1


def test_the_encoder_and_the_random_numbers_stay_as_they_are(session: Session) -> None:
    before = {name: value.clone() for name, value in session.encoder.state_dict().items()}
    for training in (True, False):
        session.encoder.train(training)
        random = torch.get_rng_state()
        first, second = (measure(session.evaluators, session.encoder, lambda: False) for _ in range(2))
        assert first == second
        assert session.encoder.training is training
        assert torch.equal(random, torch.get_rng_state())
    after = session.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(value.grad is None for value in session.encoder.parameters())


def test_test_time_augmentation_is_the_evaluators(tiny: Callable[..., Path], tmp_path: Path) -> None:
    run = a_run(tiny(), "classification")
    with open_session(run, RunFolder(tmp_path / "run", run)) as session:
        (evaluator,) = session.evaluators
        context = evaluator.context  # type: ignore[attr-defined]
        found = {}
        for copies in ("none", "mirror", "mirror_translate"):
            (made,) = build_evaluators((EVALUATORS["classification"](tta=copies),), context)  # type: ignore[call-arg]
            found[copies] = measure((made,), session.encoder, lambda: False)["loss"]
        averaged = Averaged(session.encoder.eval(), "mirror")
        batches = session.test_loader.batches(EverySample(48), augment=session.view.augmentation)
        losses = [F.cross_entropy(averaged(batch.images), batch.targets["label"]) for batch in batches]
        assert found["mirror"] == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-12)
        assert len(set(found.values())) == 3
    for options, line in (
        ({"unsure": 0.0}, "evaluator.unsure must be above 0 and at most 1; got 0"),
        ({"unsure": 0.5}, "evaluator.unsure is about test-time augmentation, and tta is none: add it"),
    ):
        with pytest.raises(RunError, match=f"^{line}$"):
            EVALUATORS["classification"](**options)


def test_its_images_are_counted(session: Session) -> None:
    session.evaluate()
    assert session.ledger.evaluated == session.evaluators[0].images >= len(session.data.test)


def test_it_can_be_stopped_and_made_again(session: Session) -> None:
    whole = measure(session.evaluators, session.encoder, lambda: False)
    asked = iter([True])
    with pytest.raises(Stopped):
        measure(session.evaluators, session.encoder, lambda: next(asked))
    assert measure(session.evaluators, session.encoder, lambda: False) == whole


def test_it_refuses_images_without_the_targets_that_it_needs(
    config: EvaluatorConfig, session: Session
) -> None:
    (evaluator,) = session.evaluators
    context = evaluator.context  # type: ignore[attr-defined]
    assert set(config.targets.items()) <= set(targets_of(session.data.test).items())
    session.data.test.card = replace(session.data.test.card, classes=(), class_counts=(), target="none")
    if not config.targets:
        build_evaluators((config,), context)
        return
    name = SLOTS["evaluator"].part_name(config)
    line = rf"evaluator {name} needs images with a label each; .*\.beton has none of kind \w+: (take|give) --"
    with pytest.raises(ValueError, match=line) as refused:
        build_evaluators((config,), context)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_two_ranks_find_what_one_finds(
    config: EvaluatorConfig, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    run, out = a_run(data_of(config, tiny, tmp_path), SLOTS["evaluator"].part_name(config)), tmp_path / "two"
    out.mkdir()
    (tmp_path / "run.toml").write_text(dumps(run))
    run_two_ranks(RANK, str(tmp_path / "run.toml"), str(out))
    first, second = ((out / f"rank{rank}.json").read_text() for rank in range(2))
    assert first == second
    with open_session(run, RunFolder(tmp_path / "one", run)) as session:
        alone = session.evaluate()
        found, images = json.loads(first)
        assert images == session.ledger.evaluated
    assert {name: float.fromhex(value) for name, value in found.items()} == pytest.approx(alone, rel=1e-9)
