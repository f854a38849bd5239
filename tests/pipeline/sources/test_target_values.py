"""Targets of other kinds than classes, as they are found, to arrays; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import DataError
from pipeline.sources.target_values import read_targets
from pipeline.targets import TargetKind

LISTS = [[0, 2], [], [1]]
ROWS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
NAMES = ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("found", "classes", "spec", "expected"),
    [
        (ROWS, None, ("0", "1", "2"), ROWS),
        (np.array(ROWS, bool), NAMES, NAMES, ROWS),
        ([[True, False], [False, False]], None, ("0", "1"), [[1, 0], [0, 0]]),
        (LISTS, None, ("0", "1", "2"), ROWS),
        (LISTS, NAMES, NAMES, ROWS),
        ([[0], [1], [1]], None, ("0", "1"), [[1, 0], [0, 1], [0, 1]]),
        ([("owl", "cat"), [], {"dog"}], None, NAMES, ROWS),
        ([[b"owl ", "cat"], [], ["dog"]], NAMES, NAMES, ROWS),
        ([np.array([2, 0]), torch.tensor([]).numpy(), (1.0,)], NAMES, NAMES, ROWS),
        ([[0, 1], [1, 0]], NAMES, NAMES, [[1, 1, 0], [1, 1, 0]]),
    ],
)
def test_labels_of_every_spelling_become_rows(
    found: Any, classes: Any, spec: tuple[str, ...], expected: Any
) -> None:
    result = read_targets("multi_label", found, "x", classes)
    assert result.classes == spec
    np.testing.assert_array_equal(result.labels, expected)
    assert result.labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([1, 2.5, True], [1, 2.5, 1]),
        ([[1, 2], (3, 4)], [[1, 2], [3, 4]]),
        (np.array([[3], [4]], np.int16), [3, 4]),
        (np.array([0.1, 0.2]), np.array([0.1, 0.2], np.float32)),
    ],
)
def test_values_become_float32(found: Any, expected: Any) -> None:
    result = read_targets("value", found, "x")
    np.testing.assert_array_equal(result.labels, expected)
    assert (result.labels.dtype, result.classes) == (np.float32, ())  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("kind", "found", "classes", "message"),
    [
        ("value", [1.0, float("nan")], None, "must be finite numbers .*; image 1 has nan: mend or leave"),
        ("value", np.array([[1, 2], [np.inf, 0]]), None, r"image 1 has \[inf, 0.0\]"),
        ("value", [1.0, 1e39], None, "in the range of float32, .*; image 1 has 1e.39"),
        ("value", [1.0, None], None, "image 1 has nan"),
        ("value", [[1, 2], [1]], None, "must have one length; image 0 has 2 numbers and image 1 1 numbers"),
        ("value", [1, [1, 2]], None, "image 0 has a single number and image 1 2 numbers"),
        ("value", [1, "2"], None, "image 1 has '2'"),
        ("value", [[]], None, r"image 0 has \[\]"),
        ("value", np.zeros((2, 0)), None, r"image 0 has \[\]"),
        ("value", [1, 10**400], None, "in the range of float32, .*; image 1 has 1000"),
        ("multi_label", [[1, 0, 1], [0, 1]], None, r"image 0 has one of them twice .*must be equally long"),
        ("multi_label", [[True, False], [True]], None, "must have one length; image 0 has 2 .* image 1 1"),
        ("multi_label", [[0, 3]], NAMES, r"different numbers of its 3 labels, counted from 0; image 0 has 3"),
        ("multi_label", [[0.5]], None, "image 0 has 0.5"),
        ("multi_label", [[0], [float("inf")]], None, "image 1 has inf"),
        ("multi_label", [[0], [float("-inf"), 0]], NAMES, "image 1 has -inf"),
        ("multi_label", [[-5]], None, "its 0 labels, counted from 0; image 0 has -5"),
        ("multi_label", [[0], [-1]], None, "image 1 has -1"),
        ("multi_label", [["cat"], ["bat"]], NAMES, "different ones of its 3 labels; image 1 has 'bat'"),
        ("multi_label", [["cat", "cat "]], NAMES, "image 0 has one of them twice"),
        (
            "multi_label",
            [["cat"], [1]],
            None,
            "all numbers, all names or all truth values; they are names and",
        ),
        ("multi_label", [[0], None], None, "a list per image, .*; image 1 has None"),
        ("multi_label", [[0], [None]], None, r"a list per image, .*; image 1 has \[None\]"),
        ("multi_label", [0, 1], None, "a list per image, .*; image 0 has 0"),
        (
            "multi_label",
            np.array([[0, 1]]),
            NAMES,
            "as long as there are names; they have 2 columns and there",
        ),
        ("multi_label", np.array([[0, 2]]), None, "must hold 0 and 1 alone; that of image 0 has 2"),
        ("multi_label", [[0], [10**7]], None, "different numbers of its 100,001 labels"),
        ("multi_label", [[], []], None, "must be 1 to 100,000 different ones; there are 0"),
        ("multi_label", [["a"]], ["a", "a "], "must have names of their own"),
    ],
)
def test_targets_that_are_none_are_one_line(kind: TargetKind, found: Any, classes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_targets(kind, found, "x", classes)
    assert "\n" not in str(caught.value)


def test_values_of_no_images_are_none() -> None:
    """An empty source is refused by the conversion, which names it."""
    for found in ([], np.zeros(0)):  # type: ignore[var-annotated]
        assert read_targets("value", found, "x").labels.shape == (0,)


def test_labels_that_no_image_has_and_images_without_any_are_noted() -> None:
    notes = read_targets("multi_label", [[0], []], "x", NAMES).notes
    assert "2 of the 3 labels are those of no image: 'dog', 'owl'" in notes
    assert "1 of the 2 images have none of the labels" in notes
