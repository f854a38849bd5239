"""Reports on regressions: errors and R2 against their definitions, far from 0 too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.inference.value_report import ValueReport, ValueTally


def reported(true: torch.Tensor, predicted: torch.Tensor) -> ValueReport:
    tally = ValueTally(predicted.shape[1], torch.device("cpu"))
    for start in range(0, len(true), 16):
        tally.add(predicted[start : start + 16], true[start : start + 16])
    return tally.report()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_figures_are_those_of_their_definitions(offset: float) -> None:
    torch.manual_seed(0)
    true = torch.randn(50, 2) + offset
    predicted = true + torch.randn(50, 2) / 2
    report = reported(true, predicted)
    errors, exact = (predicted.double() - true.double()).numpy(), true.double().numpy()
    found = report.summary()
    r2 = 1 - (errors**2).sum(axis=0) / ((exact - exact.mean(axis=0)) ** 2).sum(axis=0)
    assert found["mean_absolute_error"] == pytest.approx(np.abs(errors).mean())
    assert found["root_mean_squared_error"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert found["r2"] == pytest.approx(r2.mean(), rel=1e-6)
    assert found["mean_error"] == pytest.approx(errors.mean())
    assert [row["r2"] for row in report.table()["values"]] == pytest.approx(r2.tolist(), rel=1e-6)


def test_one_value_and_values_that_never_differ() -> None:
    report = reported(torch.tensor([2.0, 2.0]), torch.tensor([[1.0], [2.0]]))
    assert report.summary()["mean_absolute_error"] == 0.5
    assert np.isnan(report.summary()["r2"])
