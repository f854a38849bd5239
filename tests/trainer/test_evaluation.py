"""Runs that are measured by an evaluator of another metric, in another direction, from loop to report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from torch import nn

from pipeline.targets import TargetKind
from tools.cli import main
from tools.report import write_report
from tools.reporting.folder import read_run
from trainer.evaluators import EVALUATORS, EvaluatorContext
from trainer.inference.predict import EverySample, predict
from trainer.metrics import Metric

Words = Callable[..., list[str]]


@dataclass(frozen=True)
class Measured:
    context: EvaluatorContext
    scale: float

    @property
    def images(self) -> int:
        return len(self.context.dataset)

    def run(self, encoder: nn.Module, asked: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        total, order = 0.0, EverySample(len(self.context.dataset))
        for batch, outputs in predict(
            encoder, self.context.test, self.context.view, order, bf16=self.context.bf16
        ):
            asked()
            total += (outputs.argmax(dim=1) - batch.targets["label"]).abs().sum().item()
        yield "absolute_error", self.scale * total / len(self.context.dataset)


@dataclass(frozen=True)
class AbsoluteError:
    """Mean distance of the predicted class from the true one."""

    scale: float = 1.0
    """Error per class of distance."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("absolute_error", "mean absolute error", higher_is_better=False, unit="classes"),
    )
    targets: ClassVar[Mapping[str, TargetKind]] = {"label": "class"}

    def build(self, context: EvaluatorContext) -> Measured:
        return Measured(context, self.scale)


@pytest.fixture(autouse=True)
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVALUATORS, "absolute_error", AbsoluteError)


def lines_of(folder: Path) -> list[dict[str, dict[str, float]]]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


def text_of(page: Path) -> str:
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(shown.replace("\N{NO-BREAK SPACE}", " ").split())


def test_a_run_of_two_evaluators_is_judged_by_the_first_ones_metric(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words("--evaluator", "absolute_error", "classification")) == 0
    folder, said = tmp_path / "runs" / "x", capsys.readouterr().out
    lines = lines_of(folder)
    for line in lines:
        assert line["schema"] == 2  # type: ignore[comparison-overlap]
        assert list(line["metrics"]) == ["absolute_error", "accuracy", "loss"]
        # Of two classes.
        assert line["metrics"]["absolute_error"] == pytest.approx(1 - line["metrics"]["accuracy"])
    last = lines[-1]["metrics"]["absolute_error"]
    assert f"mean absolute error {last:.4f}" in said  # progress
    row = next(line for line in said.splitlines() if "mean absolute error, last round" in line)
    assert f" {last:.4f} classes " in row.replace("\N{NO-BREAK SPACE}", " ")
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["schema"] == 2
    assert ledger["evaluated"] == 2 * 48 * len(lines)
    text = text_of(folder / "report.html")
    assert f"Mean absolute error {last:.3g} classes after 50% of the full budget" in text
    assert "Mean absolute error against trained samples" in text
    assert "Accuracy against" not in text
    assert "Mean absolute error, classes Accuracy Test loss, nats" in text


def test_the_report_needs_no_evaluator_that_this_installation_lacks(
    tiny_words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(tiny_words("--evaluator", "absolute_error", "--evaluator.absolute-error.scale", "100")) == 0
    monkeypatch.delitem(EVALUATORS, "absolute_error")
    run = read_run(tmp_path / "runs" / "x")
    assert (run.metric.name, run.metric.higher_is_better, run.metric.unit) == (
        "absolute_error",
        False,
        "classes",
    )
    assert run.result == lines_of(run.path)[-1]["metrics"]["absolute_error"]
    assert "Mean absolute error" in text_of(write_report([run.path], tmp_path / "page.html"))


def test_the_primary_metric_can_be_named(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words("--primary-metric", "loss", "--epochs", "1")) == 0
    last = lines_of(tmp_path / "runs" / "x")[-1]["metrics"]["loss"]
    assert f"test loss {last:.4f}" in capsys.readouterr().out
    assert main(tiny_words("--primary-metric", "loss", "--epochs", "1", "--evaluator", "absolute_error")) == 2
    assert "primary_metric must be one that the run's evaluators measure, absolute_error; got 'loss'" in (
        capsys.readouterr().err
    )


def test_what_an_evaluator_takes_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "evaluators"]) == 0
    said = capsys.readouterr().out
    assert "classification" in said
    assert "Mean distance of the predicted class from the true one." in said
    assert main(["list", "evaluators", "absolute_error"]) == 0
    assert "--evaluator.absolute_error.scale" in capsys.readouterr().out
