"""Finished runs with chosen figures, and report pages read back as a browser would."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from tools.report import write_report
from tools.reporting import wording

N, T, BUDGET, BATCH = 1000, 20, 0.3, 100
STEPS = 60
CLASSES = ["shirt", "coat", "bag"]
VOID = {"meta", "br", "col"}
RECIPE: dict[str, Any] = {
    "recipe": "fashion_mnist_cpu",
    "data": "fashion_mnist",
    "budget": BUDGET,
    "epochs": T,
    "batch_size": BATCH,
    "seed": 0,
    "runs_dir": "runs",
    "model": {"name": "resnet8", "width": 16},
    "sampler": {"name": "uniform"},
    "schedule": {"name": "linear", "final": 1e-5},
    "augment": [{"name": "standard", "pad": 4}, {"name": "ricap", "alpha": 0.3}],
}
PHASES = {
    "wait": 0.5,
    "copy": 1.0,
    "augment": 4.0,
    "score": 0.0,
    "forward": 40.0,
    "backward": 60.0,
    "optimize": 10.0,
    "feedback": 2.0,
    "sampler": 1.5,
    "evaluate": 12.0,
    "checkpoint": 3.0,
}


def write_run(
    path: Path,
    recipe: dict[str, Any] | None = None,
    accuracy: float = 0.9123,
    charge: float = 1.0,
    **ledger: Any,
) -> Path:
    """Write a finished run of 60 steps; 119 of its 125 seconds are in phases on the training clock.

    ``charge`` is what its evaluations charge a trained sample, with all that was scored for it.
    """
    path.mkdir(parents=True)
    (path / "run.toml").write_text(tomli_w.dumps({**RECIPE, **(recipe or {})}))
    environment = {
        "schema": 1,
        "torch": "2.14.1",
        "cpu": "a CPU",
        "gpu": None,
        "command": f"trainer run fashion_mnist_cpu --name {path.name}",
        "started": "2025-11-21T22:20:00+00:00",
    }
    (path / "environment.json").write_text(json.dumps(environment))
    with (path / "steps.jsonl").open("w") as file:
        for step in range(10, STEPS + 1, 10):
            p = step / STEPS
            line = {"step": step, "round": int(p * T), "samples": step * BATCH, "progress": p}
            line |= {"lr": 0.1 * (1 - p), "loss": 2 - p, "seconds": 125 * p, "rate": 48.0}
            file.write(json.dumps(line) + "\n")
    with (path / "evaluations.jsonl").open("w") as file:
        for round_ in range(1, T + 1):
            p = round_ / T
            line = {"step": int(p * STEPS), "round": round_, "samples": int(p * STEPS) * BATCH, "progress": p}
            line |= {"seconds": 125 * p, "accuracy": accuracy - 0.3 * (1 - p), "loss": 0.4}
            line["compute"] = line["samples"] * charge
            file.write(json.dumps(line) + "\n")
    counts: dict[str, Any] = {
        "schema": 1,
        "finished": True,
        "budget": BUDGET,
        "planned": STEPS * BATCH,
        "trained": STEPS * BATCH,
        "scored": 0,
        "evaluated": 3000,
        "steps": STEPS,
        "rounds": T,
        "full_budget_samples": N * T,
        "phases": PHASES,
        "compile_seconds": 0.0,
        "train_seconds": 125.0,
        "wall_seconds": 140.0,
        "stall": 0.004,
        "score_cost": None,
        "parameters": 78042,
        "weights": "0123456789abcdef" * 4,
    }
    (path / "ledger.json").write_text(json.dumps(counts | ledger))
    write_samples(path, CLASSES)
    return path


def write_samples(path: Path, classes: list[str] | None) -> None:
    """Half of the samples seen 4 times, half 8 times, but for the last one, which was never seen."""
    label = np.arange(N) % 3
    seen = np.where(np.arange(N) < N // 2, 4, 8)
    probability = np.array([0.5, 0.75, 0.9])[label].astype(np.float32)
    seen[-1], probability[-1] = 0, np.nan
    metadata = {"schema": "1"} | ({"classes": json.dumps(classes)} if classes else {})
    columns = {"id": np.arange(N), "label": label, "times_seen": seen, "mean_probability": probability}
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path / "samples.parquet")


class Page(HTMLParser):
    """A parsed page: its elements with their attributes and text, and whether all of them are closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[int] = []
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag in ("td", "th", "span"):
            self.handle_data(" ")
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.elements[index][2].append(data)

    def texts(self, tag: str) -> list[str]:
        found = ["".join(text) for name, _, text in self.elements if name == tag]
        return [" ".join(text.replace(wording.SPACE, " ").split()) for text in found]

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def text(self) -> str:
        return self.texts("main")[0]


def page(*runs: Path, out: Path | None = None) -> Page:
    return Page(write_report(runs, out))


def three(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", {"sampler": {"name": "p_sgd", "warmup": 3}}, 0.9001, train_seconds=150.0),
        write_run(tmp_path / "c", {"sampler": {"name": "c_sgd"}}, 0.9223, scored=2000, score_cost=0.3),
    ]


NEW: dict[str, Any] = {
    "counts": "compute",
    "planned": 6000,
    "trained": 4000,
    "scored": 5000,
    "trained_at": {"16": 1000, "32": 3000},
    "scored_at": {"16": 4000, "32": 1000},
    "score_costs": {"16": 0.1, "32": 0.35},
    "score_cost": 0.1,
    "spent": 4000.0,
    "compute": 4000.0,
    "charged": 0,
    "forward_flops": 2e9,
    "flops": 2.4e13,
}
"""Entries of ledgers since budgets count compute: 750 steps of scoring in 4,000 of compute."""
FOMS = {"selection": {"name": "foms", "ratio": 2.0}, "counts": "compute"}
