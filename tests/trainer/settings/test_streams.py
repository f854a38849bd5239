"""Further streams: what recipes say of them, and what a run does with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from penalized import Penalized

from samplers import PSGD, RS2
from trainer import inputs
from trainer import recipe as recipes
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.methods import METHODS
from trainer.session import Session
from trainer.settings.streams import Stream

Recipe = Callable[..., Run]
Train = Callable[..., Session]


@pytest.fixture(autouse=True)
def _penalized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "penalized", Penalized)


@pytest.fixture
def settings(tiny: Callable[..., Path]) -> dict[str, Any]:
    stream = {"unlabelled": {"data": str(tiny(3)), "ratio": 1.5}}
    small = {"name": "resnet8", "width": 4}
    return {
        "method": "penalized",
        "streams": stream,
        "model": small,
        "epochs": 1,
        "batch_size": 32,
        "budget": 0.5,
    }


def test_a_recipe_says_a_stream_once_and_reads_it_back() -> None:
    table = {
        "method": "penalized",
        "streams": {"unlabelled": {"data": "x.beton", "ratio": 8, "sampler": "rs2"}},
    }
    run = recipes.from_table(table, where="here")
    assert run.streams == (Stream(name="unlabelled", data="x.beton", ratio=8.0, sampler=RS2()),)
    assert recipes.from_table(recipes.to_table(run), where="there") == run
    assert "streams" not in recipes.to_table(Run())


@pytest.mark.parametrize(
    ("method", "streams", "message"),
    [
        ("penalized", {}, "no stream has that name: add a table [streams.unlabelled] with data = ..."),
        (
            "supervised",
            {"unlabelled": {"data": "x.beton"}},
            "supervised takes none, and got unlabelled: remove",
        ),
        ("penalized", {"unlabelled": {"ratio": 2.0}}, "streams.unlabelled must name its data set; got none"),
        ("penalized", {"unlabelled": {"data": "x", "ratio": 0}}, "ratio must be above 0 and at most 1,000"),
        ("penalized", {"unlabelled": {"data": "x", "sampler": "p_sgd"}}, "must need no feedback, which only"),
        (
            "penalized",
            {"unlabelled": {"data": "x", "sampler": "psgd"}},
            "sampler must be one of scan, uniform",
        ),
        (
            "penalized",
            {"unlabelled": {"data": "x", "rate": 2}},
            "option must be one of name, data, ratio, sampler",
        ),
        (
            "penalized",
            {"unlabelled": {"data": "x", "name": "labelled"}},
            "streams.unlabelled must have no name beside its table's; got 'labelled': leave it out",
        ),
        ("penalized", {"a b": {"data": "x"}}, "a stream's name must be that of an argument of the method"),
        ("penalized", "kitti", "streams must be tables, one per stream; got 'kitti': write [streams.NAME]"),
    ],
)
def test_streams_that_can_not_be_are_refused(method: str, streams: Any, message: str) -> None:
    with pytest.raises(RunError) as refused:
        recipes.from_table({"method": method, "streams": streams}, where="here")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_stream_goes_round_its_set_and_is_counted_as_forwarded(
    recipe: Recipe, train_run: Train, settings: dict[str, Any]
) -> None:
    session = train_run(recipe(**settings))
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    steps = 640 // 32
    assert ledger["trained"] == ledger["spent"] == 640
    assert ledger["forwarded"] == steps * 48
    seen = np.concatenate(session.method.seen[-steps:])  # type: ignore[index]
    assert len(seen) == steps * 48
    # Each sample of the stream comes as often as any other, but for the pass that was under way.
    counts = np.bincount(seen, minlength=len(session.data.streams["unlabelled"]))
    assert set(counts) <= {7, 8}


def test_a_run_with_a_stream_resumes_to_the_same_weights(
    recipe: Recipe, train_run: Train, watch: Callable[..., Any], settings: dict[str, Any]
) -> None:
    whole = train_run(recipe(name="whole", **settings)).fingerprint()

    run = recipe(name="parts", log_every=1, **settings)
    with pytest.raises(InterruptedRunError):
        train_run(run, watch(stop_at=7))
    assert train_run(run).fingerprint() == whole


def test_a_streams_passes_are_a_part_of_a_steps_flops(
    recipe: Recipe, train_run: Train, settings: Any
) -> None:
    with_stream = train_run(recipe(name="with", **settings)).account
    plain = {key: value for key, value in settings.items() if key != "streams"}
    without = train_run(recipe(name="without", **{**plain, "method": "supervised"})).account
    assert with_stream.costs.step_passes == pytest.approx(without.costs.step_passes * (1 + 1.5))


def test_a_stream_smaller_than_its_batch_is_refused(
    recipe: Recipe, train_run: Train, settings: dict[str, Any]
) -> None:
    settings["streams"]["unlabelled"]["ratio"] = 500.0
    with pytest.raises(
        RunError, match=r"streams.unlabelled must hold a batch of 16,000 images at least; it has"
    ):
        train_run(recipe(**settings))


def test_p_sgd_stays_possible_on_the_trained_set(recipe: Recipe, train_run: Train, settings: Any) -> None:
    run = recipe(sampler="p_sgd", **settings)
    assert isinstance(run.sampler, PSGD)
    assert train_run(run).ledger.steps == 20


def test_a_file_of_a_streams_sampler_is_an_input(recipe: Recipe, settings: Any, tmp_path: Path) -> None:
    scores = tmp_path / "scores.npz"
    settings["streams"]["unlabelled"]["sampler"] = {"name": "subset", "scores": str(scores)}
    assert dict(inputs.files(recipe(**settings))) == {"streams.unlabelled.sampler.scores": scores}
