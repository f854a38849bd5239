"""Labels of every type that people's files hold: taken as what they are, or refused by name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.sources.labels import numbered, same_type


@pytest.mark.parametrize(
    ("found", "labels", "classes", "note"),
    [
        ([2, 0, 1], [2, 0, 1], ("0", "1", "2"), ""),
        ([2.0, 0.0, 1.0], [2, 0, 1], ("0", "1", "2"), "whole numbers kept as floats"),
        (np.array([1, 0], np.float16), [1, 0], ("0", "1"), "whole numbers kept as floats"),
        ([Decimal(1), Decimal("0.0")], [1, 0], ("0", "1"), ""),
        ([True, False], [1, 0], ("False", "True"), "False is class 0, True class 1"),
        (np.array([False, False]), [0, 0], ("False", "True"), "False is class 0"),
        (["b", "a"], [1, 0], ("a", "b"), ""),
        (np.array([b"b", b"a"]), [1, 0], ("a", "b"), ""),
        ([b"\xef\xbb\xbfb", b"\xc3\xa4"], [0, 1], ("b", "ä"), ""),
        (np.array(["b", "a"], object), [1, 0], ("a", "b"), ""),
        ([[1], [0]], [1, 0], ("0", "1"), ""),
        ([np.array(1), np.int8(0)], [1, 0], ("0", "1"), ""),
        ([[0, 0, 1], [1, 0, 0]], [2, 0], ("0", "1", "2"), "one-hot rows of 3"),
        (np.eye(3, dtype=np.float32)[[1, 0, 2]], [1, 0, 2], ("0", "1", "2"), "one-hot rows of 3"),
        (np.array([1, 0], np.uint64), [1, 0], ("0", "1"), ""),
    ],
)
def test_labels_of_every_type_are_taken(
    found: Any, labels: list[int], classes: tuple[str, ...], note: str
) -> None:
    result = numbered(found, "x")
    assert result.labels.dtype == np.int64
    assert (result.labels.tolist(), result.classes) == (labels, classes)
    assert note in " ".join(result.notes)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([0, None], "every image of x must have a label; image 1 has none"),
        ([0, float("nan")], "every image of x must have a label; image 1 has none"),
        (np.array([0, np.nan]), r"image 1 has none \(NaN\)"),
        ([0.0, 0.5], "must be whole numbers or texts; image 1 has 0.5"),
        ([0.0, float("inf")], "image 1 has inf"),
        (
            [0, "cat"],
            r"must be all whole numbers or all texts, one per image; got 0 \(image 0\) and 'cat' \(im",
        ),
        (["cat", " \r\n"], r"every image of x must have a label; that of image 1 is empty \(' \\r\\n'\)"),
        ([0, -1], "image 1 has -1, as where it is not known"),
        ([0, -3], "image 1 has -3: mend"),
        ([1 << 64], "got 18,446,744,073,709,551,616"),
        (np.array([0, (1 << 64) - 1], np.uint64), "got 18,446,744,073,709,551,615"),
        ([7, 70_007, 700_007], "the largest is 700,007 and 3 different ones occur: number them without gaps"),
        ([[1, 1], [0, 1]], "must be one-hot, a single 1 among zeros; the row of image 0 isn't"),
        ([[1, 0], [0.5, 0.5]], "the row of image 1 isn't"),
        ([[0, 1], [1, 0, 0]], "lists of different lengths: take them by --targets multi_label"),
        ([["a", "b"], ["a", "c"]], r"lists such as \['a', 'b'\]: take them by --targets multi_label"),
        ([{"a": 1}], "got {'a': 1} [(]dict[)]"),
        ([b"\xff"], r"got b'\\xff', which is no UTF-8"),
        (["\udcff"], "which is no UTF-8"),
        (np.array([1j]), "got complex128"),
    ],
)
def test_labels_that_are_none_are_refused_by_name(found: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        numbered(found, "x")
    assert "\n" not in str(caught.value)


def test_blanks_and_encodings_of_accents_make_no_classes_of_their_own() -> None:
    found = numbered(["cat", "cat ", "dog\r", "\ufeffdog", "U\u0308ber", "\u00dcber"], "x")
    assert found.classes == ("cat", "dog", "\u00dcber")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert "'cat ' as 'cat', 'dog\\r' as 'dog'" in found.notes[0]
    # Two splits read one by one number their classes alike, however each spells them.
    one, other = numbered(["Ü", "a"], "x"), numbered(["U\u0308", "a\t"], "x")
    assert one.classes == other.classes
    # Where names are given, texts are looked up in the same way.
    assert numbered(["ant ", "bee"], "x", ["bee", "ant"]).labels.tolist() == [1, 0]


def test_names_that_differ_in_case_are_told_and_kept_apart() -> None:
    found = numbered(["Cat", "cat", "A", "a", "b"], "x")
    assert found.classes == ("A", "Cat", "a", "b", "cat")
    assert found.notes == ("classes whose names look alike are kept apart: 'A' and 'a', 'Cat' and 'cat'",)
    # Numbers keep classes of one name apart, as two of ImageNet's are; texts can't.
    assert "'crane' and 'crane'" in numbered([0, 1], "x", ["crane", "crane"]).notes[0]
    with pytest.raises(DataError, match="two are called 'crane'"):
        numbered(["crane"], "x", ["crane", "crane"])


def test_classes_without_images_are_named() -> None:
    assert numbered([1, 2, 3, 2], "x").notes == (
        "no label of x is 0: they seem to be counted from 1, and class 0 stays empty",
        "1 of the 4 classes has no images: '0'",
    )
    assert numbered([0, 9], "x").notes == (
        "8 of the 10 classes have no images: '1', '2', '3', '4', '5' and 3 more",
    )
    assert numbered(["ant"], "x", others=["bee"]).notes == ("1 of the 2 classes has no images: 'bee'",)
    assert numbered([0, 1], "x", others=[None, float("nan"), -1]).notes == ()


def test_types_that_differ_between_files_or_splits_are_refused() -> None:
    with pytest.raises(DataError, match=r"one type throughout; got numbers in a and texts in c: write them"):
        same_type([("a", "numbers"), ("b", "numbers"), ("c", "texts"), ("d", "texts")], "x")
    same_type([("a", "numbers"), ("b", "numbers")], "x")
    for found, others in ((["a"], [0]), ([0], ["a"])):
        with pytest.raises(DataError, match="one type in all splits; they are"):
            numbered(found, "x", others=others)
