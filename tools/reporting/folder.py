"""Reader of run folders that may be incomplete or damaged."""

from __future__ import annotations

import errno
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.text import parsed, read_text
from tools.reporting.record import RunRecord, Samples, Series, number
from trainer.errors import RunError
from trainer.evaluators.classification import Classification
from trainer.metrics import from_list
from trainer.run_folder import SCHEMA
from trainer.sample_table import SAMPLES_SCHEMA
from trainer.settings import former
from trainer.slots import RUN_SLOTS

DEFAULTS: Mapping[str, Any] = {
    "counts": "trained",
    **{name: {"name": slot.earlier} for name, slot in RUN_SLOTS.items() if slot.earlier is not None},
}
"""Settings missing from recipes of earlier versions, with the values by which those trained."""

STEP_COLUMNS = ("step", "round", "samples", "progress", "lr", "loss", "accuracy", "seconds", "rate")
SAMPLE_COLUMNS = ("label", "times_seen", "mean_probability")
LATER_COLUMNS = ("weight", "image", "copy")
WHOLE_COLUMNS = ("label", "times_seen", "image", "copy")
EVALUATION_COLUMNS = (
    "step",
    "round",
    "samples",
    "progress",
    "compute",
    "seconds",
    "entropy",
)


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Raises
    ------
    RunError
        When ``path`` isn't a run folder: it doesn't exist, has no run.toml, or one that isn't TOML; or when a
        file is of a newer schema.
    """
    if not path.is_dir():
        raise RunError(f"a run must be a folder made by `trainer run`; {path} {_not_a_folder(path)}")
    if not (path / "run.toml").is_file():
        raise RunError(
            f"a run must be a folder made by `trainer run`; {path} holds no run.toml{_run_inside(path)}"
        )
    try:
        recipe = parsed(tomllib.loads, read_text(path / "run.toml"))
    except (ValueError, OSError) as error:
        raise RunError(f"{path / 'run.toml'} must be TOML as `trainer run` wrote it; {error}") from None
    faults: list[str] = []
    environment = _read_object(path / "environment.json", faults)
    # Earlier versions didn't describe metrics, and had one evaluator.
    metrics = from_list(environment.get("metrics")) or Classification.metrics
    ledger = _read_object(path / "ledger.json", faults)
    steps = _read_lines(path / "steps.jsonl", faults)
    evaluations = _read_lines(path / "evaluations.jsonl", faults)
    return RunRecord(
        path=path,
        recipe={**DEFAULTS, **former.upgraded(recipe)[0]},
        environment=environment,
        ledger=ledger,
        metrics=metrics,
        steps=_series(steps, STEP_COLUMNS),
        evaluations=_series(evaluations, EVALUATION_COLUMNS),
        measured=_series([_metrics(line) for line in evaluations], [metric.name for metric in metrics]),
        samples=_read_samples(path / "samples.parquet", faults),
        faults=tuple(faults),
    )


def _run_inside(path: Path) -> str:
    """Return the remedy if a folder of run folders was given in place of one of them."""
    inside = min((toml.parent for toml in path.glob("*/run.toml")), default=None)
    return "" if inside is None else f": name a folder in it, as {inside}"


def _not_a_folder(path: Path) -> str:
    return "is a file" if path.exists() else "does not exist"


def _read_object(path: Path, faults: list[str]) -> Mapping[str, Any]:
    try:
        content = parsed(json.loads, read_text(path))
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
        return {}
    except (ValueError, OSError):
        faults.append(f"{path.name} can't be read")
        return {}
    if not isinstance(content, dict):
        faults.append(f"{path.name} can't be read")
        return {}
    _check_schema(content.get("schema", 1), path)
    return content


def _read_lines(path: Path, faults: list[str]) -> list[Mapping[str, Any]]:
    lines: list[Mapping[str, Any]] = []
    try:
        # A killed run may have left half a last line, which is written again when it resumes.
        *whole, _ = read_text(path).split("\n")
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
        whole = []
    except (ValueError, OSError):
        faults.append(f"{path.name} can't be read")
        whole = []
    for line in whole:
        try:
            content = parsed(json.loads, line)
        except ValueError:
            content = None
        if isinstance(content, dict):
            _check_schema(content.get("schema", 1), path)
            lines.append(content)
    if len(lines) < len(whole):
        faults.append(f"{len(whole) - len(lines)} of {path.name}'s {len(whole)} lines can't be read")
    return lines


def _metrics(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metrics of a line of evaluations.jsonl; in schema 1 they stood beside its other numbers."""
    metrics = line.get("metrics")
    return metrics if isinstance(metrics, Mapping) else line


def _series(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Series:
    numbers = {name: [number(line.get(name)) for line in lines] for name in names}
    return Series(
        {name: np.array([math.nan if n is None else n for n in column]) for name, column in numbers.items()}
    )


def _read_samples(path: Path, faults: list[str]) -> Samples | None:
    try:
        if path.exists() and not path.is_file():
            # Opening a FIFO would block.
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        file = pq.ParquetFile(path)
        there = set(file.schema_arrow.names)
        metadata = file.schema_arrow.metadata or {}
        _check_schema(int(metadata.get(b"schema", 1)), path, SAMPLES_SCHEMA)
        table = file.read([*SAMPLE_COLUMNS, *(name for name in LATER_COLUMNS if name in there)])
        columns = {name: table[name].to_numpy() for name in table.column_names}
        whole = [columns[name].dtype.kind == "i" for name in WHOLE_COLUMNS if name in columns]
        if not all(whole):
            raise ValueError("labels and counts must be whole numbers")
        names = parsed(json.loads, metadata.get(b"classes", b"null").decode())
        return Samples(
            label=columns["label"].astype(np.int64),
            times_seen=columns["times_seen"].astype(np.int64),
            mean_probability=columns["mean_probability"].astype(np.float64),
            classes=tuple(map(str, names)) if isinstance(names, list) else None,
            weight=columns["weight"].astype(np.float64) if "weight" in columns else None,
            image=columns["image"].astype(np.int64) if "image" in columns else None,
            copy=columns["copy"].astype(np.int64) if "copy" in columns else None,
        )
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
    except RunError:
        raise
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError):
        faults.append(f"{path.name} can't be read")
    return None


def _check_schema(schema: object, path: Path, newest: int = SCHEMA) -> None:
    if not isinstance(schema, int) or schema > newest:
        raise RunError(f"{path} must be of schema {newest} or older; got {schema}: update budgetrain")
