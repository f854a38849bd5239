"""Parts that don't fit each other are refused before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pipeline import Batch, Mixture
from samplers import SAMPLERS, SampleImportance
from tools.cli import main
from tools.score_options import NEEDS
from trainer.config import Run
from trainer.errors import RunError
from trainer.feedback import FeedbackBuffer
from trainer.methods import METHODS, Losses, Offer, Supervised
from trainer.parallel import World
from trainer.sample_table import SampleRecord
from trainer.selection import SELECTIONS
from trainer.selection.foms import Foms


@dataclass(frozen=True)
class Classless(Supervised):
    """A method that tells nothing but its loss."""

    offers: ClassVar[tuple[Offer, ...]] = ("scores",)


@dataclass(frozen=True)
class Unscored(Supervised):
    """A method without the loss of a sample outside of a step."""

    offers: ClassVar[tuple[Offer, ...]] = ()


@pytest.fixture(autouse=True)
def _classless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "classless", Classless)
    monkeypatch.setitem(METHODS, "unscored", Unscored)


@pytest.mark.parametrize(
    ("slot", "name", "options", "statistic"),
    [
        ("sampler", "p_sgd", {}, "p_true"),
        ("sampler", "kakurenbo", {}, "p_true"),
        ("sampler", "sample_importance", {"metric": "el2n"}, "error"),
        ("selection", "gradient_norm", {}, "error"),
        ("selection", "foms", {"score": "gradient_norm"}, "error"),
        ("selection", "ordered_sgd", {}, "correct"),
    ],
)
def test_a_part_that_needs_what_the_method_lacks_is_refused(
    slot: str, name: str, options: dict[str, Any], statistic: str
) -> None:
    table: dict[str, Any] = {"sampler": SAMPLERS, "selection": SELECTIONS}[slot]  # type: ignore[assignment]
    part = table[name](**options)
    with pytest.raises(RunError) as refused:
        Run(method=Classless(), **{slot: part})
    line = str(refused.value)
    assert line.startswith(f"{slot} {name} needs {statistic}, which method classless doesn't offer: ")
    methods = line.partition("take --method ")[2].partition(", or --")[0].replace(" or ", ", ").split(", ")
    assert {"supervised", "focal", "label_smoothing"} <= set(methods)
    assert all(statistic in METHODS[method]().offers for method in methods)
    fitting = line.rpartition(f"--{slot} ")[2].replace(" or ", ", ").split(", ")
    assert name not in fitting or options
    for other in fitting:
        Run(method=Classless(), **{slot: table[other]()})
    Run(method=Supervised(), **{slot: part})


def test_what_a_part_needs_follows_its_options() -> None:
    Run(method=Classless(), sampler=SampleImportance(metric="loss"))
    Run(method=Classless(), selection=Foms(score="loss"))


@pytest.mark.parametrize("part", ["foms", "greedy", "divbs", "selective_backprop"])
def test_a_selection_by_scores_needs_a_method_that_scores(part: str) -> None:
    with pytest.raises(RunError, match=f"{part} needs .*scores, which method unscored doesn't offer"):
        Run(method=Unscored(), selection=SELECTIONS[part]())
    Run(method=Unscored(), sampler=SAMPLERS["loss_rank"](), selection=SELECTIONS["impon"]())


@pytest.mark.parametrize("metric", NEEDS)
def test_scores_are_of_networks_whose_method_offers_what_they_are_made_of(
    metric: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["score", "fashion_mnist_cpu", "--method", "unscored", "--metric", metric]
    words += ["--out", str(tmp_path / "scores.npz"), "--of", str(tmp_path)][: 4 if "irr" in metric else 2]
    assert main(words) == 2
    line = capsys.readouterr().err
    (needed,) = NEEDS[metric]
    expected = (
        f"metric {metric} needs {needed}, which method unscored doesn't offer: take a network of supervised"
    )
    assert expected in " ".join(line.split())


def test_feedback_without_classes_is_kept_and_recorded() -> None:
    mixture = Mixture.of(np.array([[0, 1], [1, 0]]), np.array([[0.75, 0.25], [1, 0]], np.float32))
    batch = Batch(np.array([3, 1]), (torch.empty(2, 3, 4, 4),), {}, mixture)
    buffer = FeedbackBuffer(World())
    # One loss per image is that of all its constituents.
    buffer.add(batch, Losses(torch.tensor([[1.0], [2.0]])))
    collected = buffer.drain(1)
    assert collected.losses == [pytest.approx(1.5)]
    assert collected.feedback.p_true is None
    assert collected.feedback.error is None
    np.testing.assert_array_equal(collected.feedback.loss, [1, 1, 2, 2])
    record = SampleRecord.empty(4)
    record.observe(collected.feedback)
    np.testing.assert_array_equal(record.last_loss, [np.nan, 2, np.nan, 1])
    assert np.isnan(record.last_probability).all()
    assert not record.coefficients.any()
