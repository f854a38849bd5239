"""Metrics: their directions, the primary one of a run, and their description in a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from trainer.config import Run
from trainer.errors import RunError
from trainer.evaluators.classification import Classification
from trainer.metrics import Metric, from_list, metrics_of, to_list
from trainer.recipe import from_table, to_table

ERROR = Metric("error", "mean absolute error", higher_is_better=False, unit="m")


@dataclass(frozen=True)
class Measures:
    metrics: tuple[Metric, ...]


def test_a_target_is_reached_from_the_metrics_own_side() -> None:
    accuracy = Classification.metrics[0]
    assert [accuracy.reaches(value, 0.5) for value in (0.4, 0.5, 0.6)] == [False, True, True]
    assert [ERROR.reaches(value, 0.5) for value in (0.4, 0.5, 0.6)] == [True, True, False]
    assert accuracy.percent
    assert not ERROR.percent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "two words"}, "a metric's name must be an ASCII identifier; got 'two words'"),
        ({"name": "größe"}, "a metric's name must be an ASCII identifier"),
        ({"name": 3}, "a metric's name must be an ASCII identifier; got 3"),
        ({"label": "two\nlines"}, r"label and unit of metric error must be printable, .* got 'two\\nlines'"),
        ({"unit": "x" * 101}, "label and unit of metric error must be printable, of at most 100 characters"),
        ({"label": ""}, "metric error must have a label and a direction"),
        ({"higher_is_better": "yes"}, "metric error must have a label and a direction"),
    ],
)
def test_a_metric_that_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    described = {"name": "error", "label": "error", "higher_is_better": False, "unit": "m"}
    with pytest.raises(RunError, match=message):
        Metric(**{**described, **change})
    assert from_list([{**described, **change}]) is None


def test_a_run_is_judged_by_its_evaluators_own_metric_or_by_the_one_that_it_names() -> None:
    assert (Run().metric.name, Run().metric.higher_is_better, Run().metric.unit) == ("accuracy", True, "%")
    run = from_table({"primary_metric": "loss"}, where="x")
    assert (run.metric.name, run.metric.higher_is_better) == ("loss", False)
    assert {metric.name for metric in run.metrics} == {metric.name for metric in Run().metrics}
    assert from_table(to_table(run), where="x") == run


def test_metrics_of_several_evaluators_follow_each_other() -> None:
    both = (Measures(Classification.metrics), Measures((ERROR,)))
    names = ["accuracy", "loss", "accuracy_multiplied", "accuracy_others", "error"]
    assert [metric.name for metric in metrics_of(both)] == names
    assert [metric.name for metric in metrics_of(both, "error")] == ["error", *names[:-1]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"evaluator": []}, r'evaluator must name a part; got \[\]: "classification" is the default'),
        ({"evaluator": "accuracy"}, "evaluator must be one of classification.*; got 'accuracy'"),
        (
            {"evaluator": ["classification", "classification"]},
            "evaluators must measure metrics of different names; two measure accuracy: leave one of them out",
        ),
        (
            {"primary_metric": "error"},
            "primary_metric must be one that the run's evaluators measure, accuracy, loss, .*; got 'error'",
        ),
    ],
)
def test_evaluators_and_metrics_that_a_run_cannot_have_are_refused(
    table: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        from_table(table, where="x")


def test_a_description_is_read_as_it_was_written() -> None:
    metrics = (ERROR, *Classification.metrics)
    read = from_list(json.loads(json.dumps(to_list(metrics))))
    assert read == metrics
    assert read is not None
    assert [metric.label for metric in read] == [metric.label for metric in metrics]


@pytest.mark.parametrize(
    "described",
    [None, [], "accuracy", ["accuracy"], [{"name": "x"}], [{}], [[1]], 2 * to_list([ERROR])],
)
def test_what_describes_no_metrics_is_none(described: object) -> None:
    assert from_list(described) is None
