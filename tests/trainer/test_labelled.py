"""Training on the labelled part of a set, and on the rest without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tools.recipe_line import read_run
from trainer.config import Run
from trainer.data import Data, digest, open_data
from trainer.errors import InterruptedRunError, RunError
from trainer.parallel import World
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]

UBN = {"method": "ubn", "streams": {"unlabelled": {"data": "rest", "ratio": 1.5}}}
SHORT = {"epochs": 4, "budget": 1.0, "batch_size": 16}


def opened(run: Run) -> Data:
    return open_data(run, World(), lambda *_: None)


def stored(data: Data) -> tuple[np.ndarray, np.ndarray]:
    rest = data.streams["unlabelled"]
    return data.train.stored, rest.stored  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("chosen", "count"),
    [({"labels_per_class": 3}, 30), ({"labelled": 0.1}, None), ({"labelled_every": 7}, 183)],
)
def test_labelled_samples_and_the_rest_are_the_set(
    recipe: Recipe, chosen: dict[str, Any], count: int
) -> None:
    run = recipe(**chosen, **UBN, **SHORT)
    data = opened(run)
    ids, rest = stored(data)
    if count is None:
        # Of every class as near to a tenth as whole samples come.
        count = int(np.round(0.1 * np.bincount(data.train.dataset.labels)).sum())
    assert len(data.train) == len(ids) == count
    assert sorted([*ids, *rest]) == list(range(1280))
    assert any("labelled" in note for note in data.notes)
    # The same whatever other seeds are; other samples by its own.
    again = stored(opened(replace(run, seed=5)))[0]
    other = stored(opened(replace(run, labelled_seed=1)))[0]
    assert (again == ids).all()
    assert (other == ids).all() == ("labelled_every" in chosen)


def test_classes_have_equal_parts_and_more_labels_are_further_ones(recipe: Recipe) -> None:
    few, more = (opened(recipe(labels_per_class=count, batch_size=4, **UBN)) for count in (2, 6))
    assert few.train.card.class_counts == (2,) * 10
    assert set(stored(few)[0]) < set(stored(more)[0])
    assert digest(few.train) != digest(more.train) != more.train.card.digest
    parts = opened(recipe(labelled=0.05, batch_size=4, **UBN))
    whole = np.bincount(parts.train.dataset.labels)  # type: ignore[attr-defined]
    assert parts.train.card.class_counts == tuple(np.round(0.05 * whole).astype(int).tolist())


def test_a_list_names_the_labelled_samples_by_name_or_id(recipe: Recipe, tmp_path: Path) -> None:
    names = opened(recipe()).train
    path = tmp_path / "labelled.txt"
    path.write_text(f"17\n{names.name(3)}\n\n1279\n")
    data = opened(recipe(labelled_list=str(path), batch_size=2, **UBN))
    assert stored(data)[0].tolist() == [3, 17, 1279]


def test_a_run_with_few_labels_ends_alike_after_a_stop(
    recipe: Recipe, train_run: Train, watch: Watch
) -> None:
    run = recipe(labels_per_class=6, name="whole", precision="fp32", augment=["standard"], **UBN, **SHORT)
    whole = train_run(run)
    assert whole.ledger.trained == 4 * 60 // 16 * 16
    stopped = replace(run, name="stopped")
    with pytest.raises(InterruptedRunError):
        train_run(stopped, watch(stop_at=7))
    resumed = train_run(stopped)
    for name, value in whole.method.state_dict().items():
        assert (value == resumed.method.state_dict()[name]).all(), name
    # Rows of samples are of the labelled ones, by their names.
    rows = pq.read_table(whole.folder.path / "samples.parquet").to_pydict()
    assert len(rows["label"]) == 60
    assert rows["label"] == whole.data.train.labels.tolist()


def test_a_list_that_was_changed_between_two_sittings_is_refused(
    recipe: Recipe, train_run: Train, watch: Watch, tmp_path: Path
) -> None:
    path = tmp_path / "labelled.txt"
    path.write_text("".join(f"{index}\n" for index in range(60)))
    run = recipe(labelled_list=str(path), name="listed", **SHORT)
    with pytest.raises(InterruptedRunError):
        train_run(run, watch(stop_at=5))
    path.write_text("".join(f"{index}\n" for index in range(1, 61)))
    with pytest.raises(RunError, match=rf"{path} has sha256 \w+; it was"):
        train_run(run)


def test_methods_without_unlabelled_images_train_on_the_labelled_part(
    recipe: Recipe, train_run: Train
) -> None:
    session = train_run(recipe(labels_per_class=6, **SHORT))
    assert len(session.data.train) == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"labels_per_class": 500},
            r"labels_per_class must be at most the samples of every class; got 500, and",
        ),
        ({"labels_per_class": 0}, r"labels_per_class must be at least 1; got 0"),
        ({"labelled": 1.5}, r"labelled must be above 0 and at most 1, a fraction of the samples; got 1.5"),
        (
            {"labelled": 0.5, "labelled_every": 2},
            r"chosen in one way; got labelled_every and labelled: leave one out",
        ),
        ({}, r"streams.unlabelled is the rest of the training set, and all of its samples are labelled"),
        ({"labelled_every": 1}, r"streams.unlabelled is the rest .* add --labelled 0.1, or name another set"),
        ({"labels_per_class": 3, "batch_size": 64}, r"batch_size must be at most the 30 samples"),
    ],
)
def test_choices_that_make_no_sense_are_one_line(
    recipe: Recipe, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message) as caught:
        opened(recipe(**UBN, **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("5000", "names '5000'"),
        ("nobody", "names 'nobody'"),
        ("3\n3", "names a sample twice"),
        ("", "no sample"),
    ],
)
def test_lists_of_other_samples_are_one_line(
    recipe: Recipe, tmp_path: Path, lines: str, message: str
) -> None:
    path = tmp_path / "labelled.txt"
    path.write_text(lines)
    with pytest.raises(RunError, match=message):
        opened(recipe(labelled_list=str(path), **UBN))


def test_a_recipes_choice_and_stream_give_way_to_the_command_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, _ = read_run(["ubn_fashion_mnist_cpu", "--labelled", "0.2", "--method", "supervised"], "run", "")
    assert (run.labelled, run.labels_per_class, run.streams) == (0.2, None, ())
    assert "the recipe's stream unlabelled is left out" in capsys.readouterr().err
    kept, _ = read_run(["ubn_fashion_mnist_cpu", "--method.statistics", "ubn_joint"], "run", "")
    assert [stream.name for stream in kept.streams] == ["unlabelled"]
