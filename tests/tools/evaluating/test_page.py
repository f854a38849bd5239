"""The page of an evaluation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from evaluations import evaluation

from tools.cli import main


def test_a_page_is_written_of_files_and_of_a_converted_set(photographs: Any, tmp_path: Path) -> None:
    run, out = photographs.varied, tmp_path / "page.html"
    for data in (photographs.folder, photographs.data(run)):
        assert main(["evaluate", str(run), str(data), "--device", "cpu", "--html", str(out)]) == 0
        text = out.read_text()
        for part in ("Accuracy", "on 21 images", "Confusion matrix", "Calibration", "How to read this"):
            assert part in text
        wrong = text.count('src="data:image/jpeg;base64,')
        assert wrong == len(re.findall(r"true: \w+ \d", re.sub(r'alt="[^"]*"', "", text)))
        assert "<script src" not in text


def test_its_file_must_be_a_page(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(photographs.varied), str(photographs.folder), "--html", str(tmp_path / "x.txt")]
    assert main(words) == 2
    assert "--html must end in .html" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "outputs", "parts"),
    [
        ("class", 3, ("Accuracy", "Confused pairs", "Most confidently wrong", "class &lt;0&gt; &amp; co")),
        ("class", 100, ("Top-5 accuracy", "of 100 classes the 30 of which most images", "others")),
        ("multi_label", 5, ("Mean average precision", "the labels that are furthest", "frequency")),
        ("value", 1, ("Mean absolute error", "Largest errors", "Predicted against true")),
        ("value", 6, ("R2", "Value 4: predicted against true")),
    ],
)
def test_every_kind_of_answers_has_a_page(kind: Any, outputs: int, parts: tuple[str, ...]) -> None:
    text = evaluation(kind, outputs)
    for part in parts:
        assert part in text
    assert "<0>" not in text
    assert text.count("data:image/jpeg") == 24
    assert len(text) < 2_000_000


def test_a_thousand_classes_stay_small() -> None:
    text = evaluation("class", 1_000)
    assert len(text) < 2_000_000


def test_a_network_that_is_always_right_has_no_gallery() -> None:
    text = evaluation("class", 3, most=1).replace("\n", "")
    assert text.count("data:image/jpeg") == 1
    assert "None: every answer is right." not in text
