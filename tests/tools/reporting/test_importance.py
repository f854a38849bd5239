"""Class importance and rank correlations against their definitions; what a page makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.reporting.importance import class_importance, mean_of_pairs, ranks, spearman, weighted
from tools.reporting.lineup import Lineup
from tools.reporting.wording import NONE

OURS = {"sampler": {"name": "sample_importance", "epochs": 10.0}}
EARLY = {"sampler": {"name": "sample_importance", "epochs": 1.0}}
values = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0]), min_size=2, max_size=12)


def slow_ranks(row: list[float]) -> list[float]:
    """By definition: the mean of the places that a value's equals take in ascending order."""
    return [sum(v < value for v in row) + (sum(v == value for v in row) + 1) / 2 for value in row]


def slow_spearman(one: list[float], other: list[float]) -> float:
    """Pearson's correlation of ranks, nan where one doesn't vary."""
    a, b = slow_ranks(one), slow_ranks(other)
    mean = (len(a) + 1) / 2
    above = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    below = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return above / below**0.5 if below else float("nan")


@given(values)
def test_ranks_share_the_mean_of_their_places(row: list[float]) -> None:
    assert ranks(np.array(row)).tolist() == slow_ranks(row)


@given(values, st.randoms(use_true_random=False), st.randoms(use_true_random=False))
def test_correlations_are_spearmans_with_ties(row: list[float], first: object, second: object) -> None:
    rows = [list(row), list(row), list(row), [0.5] * len(row)]
    first.shuffle(rows[1])  # type: ignore[attr-defined]
    second.shuffle(rows[2])  # type: ignore[attr-defined]
    found = spearman(np.array(rows))
    expected = [[slow_spearman(one, other) for other in rows] for one in rows]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_spearmans_textbook_values() -> None:
    rows = np.array([[1.0, 2, 3, 4, 5], [5.0, 6, 7, 8, 7], [5.0, 4, 3, 2, 1]])
    found = spearman(rows)
    assert found[0, 1] == pytest.approx(0.8207826816681233)
    assert found[0, 2] == pytest.approx(-1)
    assert mean_of_pairs(found) == pytest.approx((found[0, 1] + found[0, 2] + found[1, 2]) / 3)
    assert mean_of_pairs(np.array([[1.0, np.nan], [np.nan, 1.0]])) is None
    assert mean_of_pairs(np.ones((1, 1))) is None


def test_class_importance_is_a_classs_part_of_all_weights() -> None:
    weights, labels = np.array([0.5, 0.25, 0.25, 1.0]), np.array([0, 0, 2, 3])
    np.testing.assert_array_equal(class_importance(weights, labels, 5), [0.375, 0, 0.125, 0.5, 0])
    np.testing.assert_array_equal(class_importance(np.zeros(4), labels, 5), np.zeros(5))


def test_runs_without_weights_or_with_other_samples_are_no_part(
    make_run: Callable[..., Path], lined_up: Callable[..., Lineup]
) -> None:
    w = np.linspace(0, 1, 9)
    runs = [
        make_run("none", {}, [0.5], np.full(9, np.nan)),
        make_run("a", {**OURS, "seed": 0}, [0.5], w),
        make_run("b", {**OURS, "seed": 1}, [0.5], w**2),
        make_run("other", EARLY, [0.5], np.linspace(0, 1, 12)),
        make_run("half", {**EARLY, "seed": 1}, [0.5], np.where(w > 0.5, w, np.nan)),
        make_run("old", {"lr": 1.0}, [0.5]),
    ]
    groups, samples, left_out = weighted(lined_up(*runs))
    assert samples is not None
    assert len(samples.label) == 9
    assert [len(group.weights) for group in groups] == [2]
    np.testing.assert_array_equal(groups[0].weights, [w, w**2])
    assert len(left_out) == 1
    assert weighted(lined_up(runs[0], runs[5])) == ([], None, [])


def test_a_page_shows_importance_agreement_and_ranks(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    rng = np.random.default_rng(0)
    base = np.where(np.arange(60) % 3 == 1, 0.9, 0.3)
    weights = [base + 0.1 * rng.random(60) for _ in range(3)]
    runs = [make_run(f"r{i}", {**OURS, "seed": i}, [0.5, 0.6], w) for i, w in enumerate(weights[:2])]
    runs += [make_run("early", EARLY, [0.5, 0.7], weights[2])]
    source, rows = page(*runs)
    both = [class_importance(w, np.arange(60) % 3, 3) for w in weights]
    dog = [importance[1] for importance in both]
    mean, deviation = np.mean(dog[:2]), np.std(dog[:2], ddof=1)
    assert f"dog {100 * mean:.2f}% ± {100 * deviation:.2f} {100 * dog[2]:.2f}%" in rows
    single = spearman(np.array(weights))
    together = spearman(np.array([(weights[0] + weights[1]) / 2, weights[2]]))[0, 1]
    importances = spearman(np.array(both[:2]))[0, 1]
    row = f"2 {single[0, 1]:.3f} {importances:.3f} {NONE} {together:.3f}"
    assert any(one.endswith(row) for one in rows)
    apart = (single[0, 2] + single[1, 2]) / 2
    assert any(
        one.endswith(f"of all pairs of runs with different settings it is {apart:.3f}") for one in rows
    )
    assert source.count("Sample weights by rank") >= 2
    assert any("No pictures of" in one and "data set is not at" in one for one in rows)


def test_multiplied_classes_are_marked(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    w, copies = np.linspace(0.1, 1, 9), np.array([0, 0, 0, 0, 0, 0, 0, 1, 0])
    extra = {"image": np.where(copies, 4, np.arange(9)), "copy": copies}
    lines = {"accuracy_multiplied": [0.4, 0.5], "accuracy_others": [0.6, 0.8]}
    run = make_run("m", OURS, [0.5, 0.7], w, columns=extra, lines=lines)
    source, rows = page(run)
    assert any(row.startswith("dog (multiplied)") for row in rows)
    assert not any(row.startswith("cat (multiplied)") for row in rows)
    assert "Accuracy and its parts" in source
    assert "dashed: accuracy of multiplied classes; dotted: accuracy of other classes" in source
    assert "m ends at 50.0% accuracy of multiplied classes and 80.0% accuracy of other classes" in source
    assert any("50.00% 80.00%" in row for row in rows)


def test_entropy_is_drawn_over_training_where_it_was_recorded(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    run = make_run("e", OURS, [0.5, 0.7], lines={"entropy": [2.0, 1.5]})
    assert "goes from 2 to 1.5" in page(run)[0]
    older = make_run("o", OURS, [0.5, 0.7])
    assert "Entropy of sample counts over training" not in page(older)[0]


def test_a_hundred_classes_fold_away(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    labels = np.arange(300) % 100
    run = make_run("h", OURS, [0.5], np.linspace(0.1, 1, 300), columns={"label": labels})
    rows = page(run)[1]
    assert any("the 10 most and the 10 least important of 100" in row for row in rows)
    assert "All 100 classes" in " ".join(rows)


def test_flops_of_publications_are_said_not_to_compare(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    assert "compare ratios, not FLOPs" in " ".join(page(make_run("f", OURS, [0.5]))[1])
