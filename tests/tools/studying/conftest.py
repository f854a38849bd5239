"""Studies in a folder of their own, and run folders that their cells might have left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tools.studying.cells import Cell
from trainer import recipe

STUDY = """
title = "Which sampler?"
recipe = "fashion_mnist_cpu"
seeds = [0, 1, 2]
baseline = { sampler = "uniform" }

[grid]
augment = ["standard", "ricap"]
sampler = ["uniform", "p_sgd"]
"""

Write = Callable[..., Path]
Finish = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a study's file: the usual one, with lines put before it or text replaced."""

    def make(before: str = "", replaced: Mapping[str, str] | None = None, after: str = "") -> Path:
        text = STUDY
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "some.toml"
        path.write_text(before + text + after)
        return path

    return make


@pytest.fixture
def finish() -> Finish:
    """Leave the folder of a finished run, as `trainer run` does, with a result and a cost."""

    def make(cell: Cell, result: float, **ledger: Any) -> None:
        folder = cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.toml").write_text(recipe.dumps(cell.run))
        digests = {"train": "1" * 64, "test": "2" * 64}
        facts = {"schema": 2, "cpu": "a CPU", "threads": 1, "torch": "2.14", "data_sha256": digests}
        (folder / "environment.json").write_text(json.dumps(facts))
        steps, evaluations = [], []
        for number in (1, 2, 3):
            place = {"step": 10 * number, "round": number, "samples": 100 * number, "progress": number / 3}
            steps.append({**place, "lr": 0.1, "loss": 1.0, "accuracy": result / 2, "seconds": 4.0 * number})
            evaluations.append(
                {
                    **place,
                    "schema": 2,
                    "compute": 100.0 * number,
                    "seconds": 4.0 * number,
                    "entropy": 1.0,
                    "metrics": {"accuracy": result - 0.1 * (3 - number), "loss": 0.4},
                }
            )
        for name, lines in (("steps.jsonl", steps), ("evaluations.jsonl", evaluations)):
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        counts = {
            "schema": 2,
            "finished": True,
            "counts": "trained",
            "trained": 300,
            "compute": 300.0,
            "steps": 30,
            "full_budget_samples": 1000,
            "train_seconds": 12.0,
            "wall_seconds": 15.0,
            "weights": "0123" * 16,
        }
        (folder / "ledger.json").write_text(json.dumps({**counts, **ledger}))
        columns = {
            "label": [0, 0, 1, 1],
            "times_seen": [1, 2, 3, 4],
            "mean_probability": [0.9, 0.2, 0.6, 0.7],
        }
        table = pa.table(columns).replace_schema_metadata({"schema": "1", "classes": '["cat", "dog"]'})
        pq.write_table(table, folder / "samples.parquet")

    return make
