"""Run folders with chosen accuracies and weights, and pages read back as text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

from tools.report import write_report
from tools.reporting.lineup import Lineup, line_up
from trainer.metrics import Metric, to_list

CLASSES = ["cat", "dog", "owl"]
RECIPE: dict[str, Any] = {
    "recipe": "fashion_mnist_cpu",
    "data": "nowhere",
    "budget": 1.0,
    "batch_size": 10,
    "seed": 0,
    "model": "resnet8",
    "sampler": {"name": "scan"},
    "augment": [{"name": "standard"}],
}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a finished run that evaluates every round of 10 steps.

    As version 0.1 did, or, where it is given the metric, as runs do now.
    """

    def make(
        name: str,
        recipe: dict[str, Any],
        accuracies: Sequence[float],
        weights: np.ndarray | None = None,
        finished: bool = True,
        lines: dict[str, Sequence[float | None]] | None = None,
        columns: dict[str, np.ndarray] | None = None,
        metric: Metric | None = None,
    ) -> Path:
        path = tmp_path / name
        path.mkdir()
        (path / "run.toml").write_text(tomli_w.dumps({**RECIPE, **recipe}))
        environment: dict[str, Any] = {"schema": 1}
        if metric is not None:
            environment = {"schema": 2, "metrics": to_list([metric])}
        (path / "environment.json").write_text(json.dumps(environment))
        (path / "steps.jsonl").write_text("")
        with (path / "evaluations.jsonl").open("w") as file:
            for i, accuracy in enumerate(accuracies):
                line: dict[str, Any] = {"step": 10 * (i + 1), "round": i + 1, "samples": 100 * (i + 1)}
                line |= {"progress": (i + 1) / len(accuracies), "seconds": float(i)}
                if metric is None:
                    line |= {"accuracy": accuracy, "loss": 1.0}
                else:
                    line |= {"schema": 2, "metrics": {metric.name: accuracy}}
                line |= {key: values[i] for key, values in (lines or {}).items()}
                file.write(json.dumps(line) + "\n")
        ledger = {"schema": 1, "finished": finished, "trained": 100 * len(accuracies)}
        (path / "ledger.json").write_text(json.dumps(ledger))
        if weights is not None:
            n = len(weights)
            table: dict[str, Any] = {
                "id": np.arange(n),
                "label": np.arange(n) % 3,
                "times_seen": np.ones(n, np.int64),
                "last_loss": np.ones(n, np.float32),
                "mean_probability": np.full(n, 0.5, np.float32),
                "weight": pa.array(weights, mask=np.isnan(weights)),
                **(columns or {}),
            }
            metadata = {"schema": "2", "classes": json.dumps(CLASSES)}
            pq.write_table(pa.table(table).replace_schema_metadata(metadata), path / "samples.parquet")
        return path

    return make


@pytest.fixture
def lined_up() -> Callable[..., Lineup]:
    from tools.reporting.folder import read_run

    return lambda *paths: line_up([read_run(path) for path in paths])


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., tuple[str, list[str]]]:
    """The page about some runs: its source, and its text row by row."""

    def make(*paths: Path) -> tuple[str, list[str]]:
        source = write_report(paths, tmp_path / "page.html").read_text(encoding="utf-8")
        pieces = re.split(r"</?(?:tr|p|caption|figcaption)\b[^>]*>", source.partition("<body>")[2])
        cells = [re.sub(r"<[^>]*>", " ", piece) for piece in pieces]
        return source, [
            " ".join(html.unescape(cell).replace("\N{NO-BREAK SPACE}", " ").split()) for cell in cells
        ]

    return make
