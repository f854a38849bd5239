"""Runs on multiplied data sets: the experiments of the sample-importance paper, sections 4.3 and 4.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.multiplied import choose_classes
from tools.recipe_line import read_run
from trainer import recipe as recipes
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.evaluators.classification import Counts
from trainer.loop import train
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]

SMALL = {"name": "resnet8", "width": 4}
SOME = {
    "model": SMALL,
    "multiply": 3,
    "multiply_classes": 0.2,
    "multiply_seed": 1,
    "epochs": 2,
    "augment": ["multi"],
}
ALL = {"model": SMALL, "multiply": 2, "epochs": 2, "augment": ["multi"]}


def table(session: Session) -> dict[str, np.ndarray]:
    columns = pq.read_table(session.folder.path / "samples.parquet")
    return {name: columns[name].to_numpy() for name in columns.column_names}


def test_plan_records_budget_and_evaluations_are_those_of_all_copies(
    recipe: Recipe, train_run: Train
) -> None:
    session = train_run(recipe(**SOME))
    data = session.data.train.dataset  # type: ignore[attr-defined]
    chosen = choose_classes(10, 0.2, 1)
    inside = np.isin(data.labels, chosen)
    samples = len(data) + 2 * int(inside.sum())
    assert len(session.data.train) == session.plan.samples == samples
    assert session.ledger.trained == round(2 * 0.5 * samples) // 64 * 64
    rows = table(session)
    assert rows["times_seen"].sum() == session.ledger.trained
    np.testing.assert_array_equal(rows["label"], data.labels[rows["image"]])
    copies = np.bincount(rows["image"])
    np.testing.assert_array_equal(copies, np.where(inside, 3, 1))
    assert set(zip(rows["image"].tolist(), rows["copy"].tolist(), strict=True)) == {
        (image, copy) for image in range(len(data)) for copy in range(copies[image])
    }
    # Multiplied and other classes are evaluated apart.
    lines = session.folder.read("evaluations.jsonl")
    assert session.data.multiplied == tuple(choose_classes(10, 0.2, 1))
    fraction = np.isin(session.data.test.labels, session.data.multiplied).mean()
    for line in (line["metrics"] for line in lines):
        ours, others = line["accuracy_multiplied"], line["accuracy_others"]
        assert line["accuracy"] == pytest.approx(fraction * ours + (1 - fraction) * others)
    last = lines[-1]["metrics"]
    assert last["accuracy_multiplied"] != last["accuracy_others"]


def test_accuracies_apart_are_those_of_their_samples() -> None:
    right = np.array([1, 0, 1, 1, 0, 0, 1, 1], np.bool_)
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    result = Counts(0.5, np.bincount(labels, right).astype(np.int64), np.bincount(labels))
    assert result.counts.sum() == 8
    assert result.accuracy == right.mean()
    for classes in ({1}, {0, 2}, {0, 1, 3}):
        inside = np.isin(labels, list(classes))
        assert result.apart(classes) == (right[inside].mean(), right[~inside].mean())
    assert result.apart({0, 1, 2, 3}) == (right.mean(), None)
    assert result.apart(set()) == (None, right.mean())


def test_where_all_or_none_are_multiplied_there_is_nothing_to_tell_apart(
    recipe: Recipe, train_run: Train
) -> None:
    for name, options in (("all", ALL), ("none", {"model": SMALL, "epochs": 1})):
        session = train_run(recipe(name=name, **options))
        assert session.data.multiplied is None
        assert list(session.folder.read("evaluations.jsonl")[-1]["metrics"]) == ["accuracy", "loss"]


def test_each_copy_has_an_importance_of_its_own(recipe: Recipe, train_run: Train) -> None:
    """A copy that shows a tenth of the image is harder than the whole image, and its w says so."""
    parts = {"name": "multi", "parts": ["none", "random_resized_crop:scale=0.08,0.1"]}
    sampler = {"name": "sample_importance", "epochs": 1.5}
    options = {"multiply": 2, "budget": 1.0, "epochs": 2, "batch_size": 32, "augment": [parts]}
    session = train_run(recipe(model={**SMALL, "width": 8}, sampler=sampler, **options))
    rows = table(session)
    whole, cut = (rows["weight"][rows["copy"] == copy] for copy in (0, 1))
    assert np.isfinite(whole).all()
    assert (cut > whole).mean() > 0.55
    # After epoch E hard copies are drawn more often.
    seen = [rows["times_seen"][rows["copy"] == copy].sum() for copy in (0, 1)]
    assert seen[1] > seen[0]


@pytest.mark.parametrize(
    "options",
    [
        {**SOME, "sampler": {"name": "sample_importance", "epochs": 0.5}},
        {**ALL, "sampler": "uniform", "selection": {"name": "foms", "ratio": 2.0}},
    ],
)
def test_a_stopped_run_ends_alike_whatever_reads_the_images(
    recipe: Recipe, train_run: Train, watch: Any, options: dict[str, Any]
) -> None:
    whole = train_run(recipe(name="whole", **options))
    stopped = recipe(name="stopped", engine="ffcv", log_every=1, **options)
    with pytest.raises(InterruptedRunError):
        train(stopped, RunFolder(stopped.runs_dir / folder_name(stopped), stopped), World(), watch(stop_at=9))
    again = train_run(stopped)
    assert again.fingerprint() == whole.fingerprint()
    for name, column in table(whole).items():
        np.testing.assert_array_equal(table(again)[name], column)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ({"multiply": 0}, "multiply must be at least 1 and at most 1,000 copies of a sample; got 0"),
        ({"multiply": 1001}, "multiply must be at least 1 and at most 1,000 copies of a sample; got 1001"),
        ({"multiply": 2.5}, "multiply must be int; got 2.5"),
        ({"multiply": 2, "multiply_classes": 0}, "multiply_classes must be above 0 and at most 1"),
        ({"multiply": 2, "multiply_classes": 20}, "a fraction of the classes; got 20"),
        ({"multiply": 2, "multiply_classes": float("nan")}, "a fraction of the classes; got nan"),
        ({"multiply_classes": 0.2}, "multiply is 1: add --multiply 5, or leave them out"),
        ({"multiply_seed": 3}, "multiply is 1: add --multiply 5, or leave them out"),
        ({"multiply": 2, "multiply_seed": -1}, "multiply_seed must be at least 0 and below"),
    ],
)
def test_nonsense_is_one_line(recipe: Recipe, entries: dict[str, Any], line: str) -> None:
    with pytest.raises(RunError, match=line):
        recipe(**entries)


def test_a_fraction_of_no_class_is_one_line(recipe: Recipe, train_run: Train) -> None:
    with pytest.raises(DataError, match=r"at least one; got 0\.04 of 10: raise it to 0\.1"):
        train_run(recipe(multiply=2, multiply_classes=0.04))


def test_the_command_line_has_them() -> None:
    words = "cifar10 --multiply 5 --multiply-classes 0.2 --multiply-seed 4 --augment multi"
    run, _ = read_run(
        [*words.split(), "--augment.multi.parts", "standard:padding=2", "autoaugment:policy=svhn"],
        "trainer",
        "",
    )
    assert (run.multiply, run.multiply_classes, run.multiply_seed) == (5, 0.2, 4)
    again = recipes.from_table(recipes.to_table(run), where="test")
    assert again == run
    assert again.augment[-1].parts == ("standard:padding=2", "autoaugment:policy=svhn")  # type: ignore[attr-defined]
