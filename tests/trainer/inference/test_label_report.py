"""Reports on multi-label classifiers: every figure against its definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.inference.average_precision import average_precision
from trainer.inference.label_report import LabelTally

NAMES = ("sky", "sea", "sand", "never", "unheard of")
KNOWN = np.array([True, True, True, True, False])


def test_figures_are_those_of_their_definitions_over_the_labels_that_a_set_has() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(90, 5), (torch.rand(90, 5) < 0.4).to(torch.uint8)
    targets[:, 3:] = 0
    tally = LabelTally(NAMES, KNOWN, threshold=0.6)
    for start in range(0, 90, 32):
        tally.add(logits[start : start + 32], targets[start : start + 32])
    report = tally.report()
    p, there = logits.sigmoid().double().numpy()[:, :4], targets.bool().numpy()[:, :4]
    taken = p >= 0.6
    each = [average_precision(p[:, label], there[:, label]) for label in range(3)]
    assert report.mean_average_precision == pytest.approx(np.mean(each))
    f1 = [
        2 * (taken & there)[:, label].sum() / (taken[:, label].sum() + there[:, label].sum())
        for label in range(4)
    ]
    assert report.macro_f1 == pytest.approx(np.mean(f1))
    assert report.micro_f1 == pytest.approx(2 * (taken & there).sum() / (taken.sum() + there.sum()))
    assert report.exact == np.mean([(a == b).all() for a, b in zip(taken, there, strict=True)])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, :4], targets[:, :4].float())
    assert report.loss == pytest.approx(loss.item(), rel=1e-5)
    assert np.isnan(report.average_precision[3])
    assert np.isnan(report.recall[3])
    assert [row["label"] for row in report.table()["labels"]] == list(NAMES[:4])


def test_probabilities_that_are_frequencies_are_calibrated() -> None:
    targets = (torch.arange(1000)[:, None] % 4 == 0).to(torch.uint8)
    for p, error in ((0.25, 0.0), (0.75, 0.5)):
        tally = LabelTally(("x",), np.array([True]), threshold=0.5)
        tally.add(torch.full((1000, 1), p).logit(), targets)
        report = tally.report()
        assert report.calibration_error == pytest.approx(error, abs=1e-6)
        (row,) = (row for row in report.table()["calibration"] if row["images"])
        assert (row["probability"], row["frequency"]) == (pytest.approx(p), 0.25)
