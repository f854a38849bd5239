"""Reports of runs that are judged by another metric than accuracy, and by different ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.reporting import metrics
from tools.reporting.mean_curve import curve
from trainer.evaluators.classification import Classification
from trainer.metrics import Metric

ERROR = Metric("error", "mean absolute error", higher_is_better=False, unit="m")
ACCURACY = Classification.metrics[0]
Page = Callable[..., tuple[str, list[str]]]
MINUS, DASH, TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"


def p_sgd(seed: int = 0) -> dict[str, Any]:
    return {"sampler": {"name": "p_sgd"}, "seed": seed}


def test_values_are_shown_in_percent_or_in_the_metrics_unit() -> None:
    def said(text: str) -> str:
        return text.replace("\N{NO-BREAK SPACE}", " ").replace(MINUS, "-")

    bare = Metric("perplexity", "perplexity", higher_is_better=False)
    values = [(ACCURACY, 0.9123), (ERROR, 0.31256), (bare, 12_345.678), (ERROR, 0.00012346)]
    assert [said(metrics.short(*pair)) for pair in values] == ["91.2%", "0.313 m", "12,346", "0.000123 m"]
    assert [said(metrics.exact(*pair)) for pair in values] == [
        "91.23%",
        "0.3126 m",
        "12,345.7",
        "0.0001235 m",
    ]
    assert [metrics.cell(*pair) for pair in values[:2]] == ["91.23%", "0.3126"]
    assert [metrics.cell(metric, None) for metric, _ in values] == 4 * [DASH]
    assert [metrics.axis(metric) for metric in (ACCURACY, ERROR, bare)] == [
        "accuracy, %",
        "mean absolute error, m",
        "perplexity",
    ]
    assert [metrics.column(metric) for metric in (ACCURACY, ERROR, bare)] == [
        "Accuracy",
        "Mean absolute error, m",
        "Perplexity",
    ]
    assert said(metrics.difference(ACCURACY, 0.9, 0.91)) == "-1.00"
    assert said(metrics.difference(ERROR, 0.25, 0.3)) == "-0.0500"
    assert said(metrics.difference(ERROR, 0.3, 0.25)) == "+0.0500"
    assert metrics.difference(ERROR, 0.3, 0.3) == "\N{PLUS-MINUS SIGN}0.0000"
    assert metrics.difference(ERROR, None, 0.3) == DASH
    assert metrics.deviation(ERROR, 0.0123) == "0.0123"
    assert metrics.deviation(ACCURACY, 0.0123) == "1.23"


def test_one_run_is_told_by_its_metric(make_run: Callable[..., Path], page: Page) -> None:
    source, rows = page(make_run("a", {}, [0.5, 0.3, 0.2], metric=ERROR))
    assert any(row.startswith("Mean absolute error 0.2 m after 100% of the full budget") for row in rows)
    assert "Mean absolute error, m 0.2000 of the last round" in " ".join(" ".join(rows).split())
    assert "goes from 0.5 m to 0.2 m at 300 samples" in source.replace("\N{NO-BREAK SPACE}", " ")
    assert "mean absolute error, m" in source  # the axis
    assert not re.search("accuracy", source, re.IGNORECASE)


def test_an_unfinished_run_has_no_figure_yet(make_run: Callable[..., Path], page: Page) -> None:
    _, rows = page(make_run("a", {}, [], metric=ERROR, finished=False))
    assert any(row.startswith("Unfinished, no mean absolute error yet") for row in rows)
    assert any("so its mean absolute error is provisional" in row or "no step yet" in row for row in rows)


def test_where_lower_is_better_the_lowest_counts(make_run: Callable[..., Path], page: Page) -> None:
    runs = [
        make_run("a", {"seed": 0}, [0.9, 0.5, 0.4, 0.41], metric=ERROR),
        make_run("b", {"seed": 1}, [0.9, 0.5, 0.4, 0.43], metric=ERROR),
        make_run("c", p_sgd(), [0.8, 0.3, 0.35, 0.38], metric=ERROR),
    ]
    _, rows = page(*runs)
    text = " ".join(rows)
    # Runs: the last round's, with differences from the first run's.
    assert any(f"0.3800 {MINUS}0.0300" in row for row in rows)
    assert "differences of mean absolute error and ratios against the first run" in text
    # Repeats: the minimum over rounds of the mean over runs.
    assert "Mean mean absolute error, last round Standard deviation, m" in text
    assert any(row.startswith("scan 2 0.4200 0.0141 ") and "0.4000" in row for row in rows)
    assert any(row.startswith("p_sgd 1 0.3800") and "0.3000, round 2" in row for row in rows)
    # The highest that a run ended with is 0.43: the first row reaches it in its third round.
    caption = "First evaluation at 0.4300 m or below, the highest mean absolute error that a run ended with"
    assert any(row.startswith(caption) for row in rows)
    assert any(row.startswith("scan 300 ") for row in rows)
    assert any(row.startswith(f"p_sgd 200 0.67{TIMES}") for row in rows)
    # From 30 to 20 steps to where the first group's mean is lowest; tolerances are percents of that.
    assert any(row.startswith("scan 0.4000, round 3 30 1.00") for row in rows)
    assert any(row.startswith(f"p_sgd 0.3000, round 2 20 1.50{TIMES}") for row in rows)
    assert "its mean mean absolute error is lowest at step t_b" in text


def test_a_tolerance_is_a_percentage_of_the_best(make_run: Callable[..., Path], page: Page) -> None:
    runs = [
        make_run("a", {}, [90.0, 50.0, 40.0], metric=ERROR),
        make_run("b", p_sgd(), [80.0, 40.3, 40.2], metric=ERROR),
    ]
    _, rows = page(*runs)
    # 40.2 is half a percent above 40.0, 40.3 three quarters.
    own = next(row for row in rows if row.startswith("p_sgd 40.2000, round 3 30"))
    assert own.split()[-5:] == [DASH, DASH, DASH, f"1.00{TIMES}", f"1.50{TIMES}"]


def test_a_mean_curve_of_the_worst_first_metric_has_its_minimum(
    make_run: Callable[..., Path], lined_up: Callable[..., Any]
) -> None:
    found = curve(lined_up(make_run("a", {}, [0.5, 0.2, 0.2, 0.4], metric=ERROR)).groups[0])
    assert found is not None
    assert (found.best, found.best_mean) == (1, 0.2)
    assert found.reaches(0.2, 0.2).tolist() == [False, True, True, True]


def test_runs_of_different_metrics_are_not_compared_and_the_page_says_so(
    make_run: Callable[..., Path], page: Page
) -> None:
    runs = [
        make_run("a", {}, [0.5, 0.7]),
        make_run("b", p_sgd(), [0.6, 0.8]),
        make_run("c", {"sampler": {"name": "rs2"}}, [0.5, 0.4], metric=ERROR),
    ]
    source, rows = page(*runs)
    text = " ".join(rows)
    assert "scan reached accuracy 70.0%, p_sgd accuracy 80.0% and rs2 mean absolute error 0.4 m" in text
    note = (
        "Results do not compare between runs of different primary metrics: accuracy (higher is better) in "
        "scan and p_sgd; mean absolute error (lower is better) in rs2."
    )
    assert note in text
    assert any(row.startswith("rs2 mean absolute error 0.4000 m") for row in rows)
    assert "Primary metric" in text
    # What compares is compared: the two that are judged by accuracy.
    assert any(row.startswith("First evaluation at 70.00% or above") for row in rows)
    assert not any(row.startswith("First evaluation at 0.4") for row in rows)
    assert 'id="accuracy-samples-title"' in source
    assert 'id="error-samples-title"' in source


def test_a_hostile_description_is_text_or_is_not_believed(make_run: Callable[..., Path], page: Page) -> None:
    label = """</title><script>alert(1)</script> '"&$x^2$"""
    source, rows = page(make_run("a", {}, [0.5], metric=Metric("error", label, higher_is_better=False)))
    assert "<script" not in source
    assert any(label in row for row in rows)


def test_metrics_of_version_0_1_are_accuracy_and_loss(
    make_run: Callable[..., Path], lined_up: Callable[..., Any], page: Page
) -> None:
    old, new = make_run("a", {}, [0.5, 0.7]), make_run("b", {"seed": 1}, [0.5, 0.8], metric=ACCURACY)
    lineup = lined_up(old, new)
    assert lineup.comparable
    assert [entry.run.result for entry in lineup] == [0.7, 0.8]
    assert lineup.entries[0].run.measured["loss"].tolist() == [1.0, 1.0]
    assert len(lineup.groups) == 1
    assert "Accuracy: all runs reached 75.0%" in " ".join(page(old, new)[1])
