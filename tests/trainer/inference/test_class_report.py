"""Reports on classifiers: every figure against its definition, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.inference.class_report import BINS, ClassReport, ClassTally


def reported(
    samples: int, classes: int, present: int, seed: int = 0
) -> tuple[ClassReport, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    labels = torch.randint(0, present, (samples,))
    logits = torch.randn(samples, classes, dtype=torch.float64)
    logits[torch.arange(samples), labels] += 1
    log_p = logits.log_softmax(dim=1)
    tally = ClassTally([str(number) for number in range(classes)], torch.device("cpu"))
    for start in range(0, samples, 32):
        tally.add(log_p[start : start + 32], labels[start : start + 32])
    return tally.report(), log_p, labels


@pytest.mark.parametrize(("classes", "present"), [(8, 8), (8, 5), (3, 3)])
def test_figures_are_those_of_their_definitions(classes: int, present: int) -> None:
    report, log_p, labels = reported(200, classes, present)
    guesses = log_p.argmax(dim=1)
    assert report.images == 200
    assert report.accuracy == pytest.approx((guesses == labels).double().mean().item())
    ranks = (log_p > log_p.gather(1, labels[:, None])).sum(dim=1)
    assert report.top5 == pytest.approx((ranks < 5).double().mean().item())
    assert report.loss == pytest.approx(torch.nn.functional.nll_loss(log_p, labels).item())
    scores = []
    for number in range(classes):
        true, taken = labels == number, guesses == number
        both, either = (true & taken).sum().item(), (true | taken).any()
        assert report.confusion[number].tolist() == [
            int((true & (guesses == other)).sum()) for other in range(classes)
        ]
        if either:
            scores.append(2 * both / (true.sum() + taken.sum()).item())
            assert report.f1[number] == pytest.approx(scores[-1])
        else:
            assert np.isnan(report.f1[number])
        assert np.isnan(report.recall[number]) == (not true.any())
    assert report.macro_f1 == pytest.approx(np.mean(scores))
    assert report.balanced_accuracy == pytest.approx(
        np.mean([(guesses[labels == number] == number).double().mean() for number in range(present)])
    )


def test_the_calibration_error_sums_over_intervals_of_confidence() -> None:
    report, log_p, labels = reported(500, 4, 4)
    confidence, guesses = log_p.exp().max(dim=1)
    right, error = (guesses == labels).double(), 0.0
    for low in range(BINS):
        inside = (confidence > low / BINS) & (confidence <= (low + 1) / BINS)
        if inside.any():
            gap = (right[inside].mean() - confidence[inside].mean()).abs()
            error += (inside.double().mean() * gap).item()
    assert report.calibration_error == pytest.approx(error)


def test_a_certain_and_right_network_is_calibrated_and_one_that_is_wrong_is_not() -> None:
    labels = torch.tensor([0, 1, 1])
    for logits, error in ((torch.eye(2)[labels] * 1e4, 0.0), (torch.eye(2)[1 - labels] * 1e4, 1.0)):
        tally = ClassTally(["a", "b"], torch.device("cpu"))
        tally.add(logits.log_softmax(dim=1), labels)
        report = tally.report()
        assert report.calibration_error == pytest.approx(error)
        assert report.accuracy == 1 - error
        assert report.confused(5) == ([] if error == 0 else [(1, 0, 2), (0, 1, 1)])
