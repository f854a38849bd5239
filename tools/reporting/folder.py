"""What a run folder says, read without trusting that all of it is there."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.errors import RunError

SCHEMA = 1
"""Newest schema of a run folder's files that is understood."""

STEP_COLUMNS = ("step", "round", "samples", "progress", "lr", "loss", "seconds", "rate")
SAMPLE_COLUMNS = ("label", "times_seen", "mean_probability")
EVALUATION_COLUMNS = ("step", "round", "samples", "progress", "seconds", "accuracy", "loss")


@dataclass(frozen=True, slots=True)
class Series:
    """Lines of a .jsonl file as columns.

    Attributes
    ----------
    columns
        float64[n] each, nan where a line has no such number.
    """

    columns: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]

    def last(self, name: str) -> float | None:
        """The last line's number, None where there is none."""
        return _number(float(self[name][-1])) if len(self) else None


@dataclass(frozen=True, slots=True)
class Samples:
    """What happened to each training sample.

    Attributes
    ----------
    label, times_seen
        int64[n].
    mean_probability
        float64[n], probability given to the true class, nan for samples never seen.
    classes
        Names of the classes where the run recorded them.
    """

    label: NDArray[np.int64]
    times_seen: NDArray[np.int64]
    mean_probability: NDArray[np.float64]
    classes: tuple[str, ...] | None

    def class_name(self, label: int) -> str:
        """The class's name, or its number where the run recorded no names."""
        if self.classes is not None and 0 <= label < len(self.classes):
            return self.classes[label]
        return f"class {label}"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run folder. What couldn't be read is empty or None here, and told in ``faults``.

    Attributes
    ----------
    path
        The folder.
    recipe, environment, ledger
        Contents of run.toml, environment.json and ledger.json.
    steps, evaluations
        Lines of the .jsonl files.
    samples
        Rows of samples.parquet.
    faults
        What is missing or damaged, a sentence's part each.
    """

    path: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    ledger: Mapping[str, Any]
    steps: Series
    evaluations: Series
    samples: Samples | None
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the run spent its budget, by its own ledger."""
        return self.ledger.get("finished") is True

    @property
    def accuracy(self) -> float | None:
        """Accuracy in [0, 1] of the last evaluation."""
        return self.evaluations.last("accuracy")

    @property
    def phases(self) -> dict[str, float]:
        """Seconds a phase, in the ledger's order."""
        phases = self.ledger.get("phases")
        if not isinstance(phases, Mapping):
            return {}
        known = {str(name): _number(seconds) for name, seconds in phases.items()}
        return {name: seconds for name, seconds in known.items() if seconds is not None}

    def number(self, key: str) -> float | None:
        """A number of the ledger; samples trained, steps and seconds fall back on the last logged step."""
        value = _number(self.ledger.get(key))
        if value is not None:
            return value
        if key == "budget":
            return _number(self.recipe.get("budget"))
        logged = {"trained": "samples", "train_seconds": "seconds", "steps": "step"}
        return self.steps.last(logged[key]) if key in logged else None

    @property
    def rate(self) -> float | None:
        """Trained samples a second of the training clock."""
        trained, seconds = self.number("trained"), self.number("train_seconds")
        return trained / seconds if trained is not None and seconds else None

    @property
    def compute(self) -> float | None:
        """Compute spent, in trained samples: a scored sample counts by the measured cost of scoring."""
        trained, scored = self.number("trained"), self.number("scored")
        if trained is None or scored is None:
            return None
        cost = self.number("score_cost")
        if scored and cost is None:
            return None
        return trained + scored * (cost or 0.0)


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Raises
    ------
    RunError
        When ``path`` is no run folder: it doesn't exist, has no run.toml, or one that isn't TOML; or when a
        file is of a newer schema.
    """
    if not path.is_dir():
        raise RunError(f"a run must be a folder made by `trainer run`; {path} {_not_a_folder(path)}")
    if not (path / "run.toml").is_file():
        raise RunError(f"a run must be a folder made by `trainer run`; {path} holds no run.toml")
    try:
        recipe = tomllib.loads((path / "run.toml").read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"{path / 'run.toml'} must be TOML as `trainer run` wrote it; {error}") from None
    faults: list[str] = []
    return RunRecord(
        path=path,
        recipe=recipe,
        environment=_read_object(path / "environment.json", faults),
        ledger=_read_object(path / "ledger.json", faults),
        steps=_read_lines(path / "steps.jsonl", STEP_COLUMNS, faults),
        evaluations=_read_lines(path / "evaluations.jsonl", EVALUATION_COLUMNS, faults),
        samples=_read_samples(path / "samples.parquet", faults),
        faults=tuple(faults),
    )


def _not_a_folder(path: Path) -> str:
    return "is a file" if path.exists() else "does not exist"


def _read_object(path: Path, faults: list[str]) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
        return {}
    except (ValueError, OSError):
        faults.append(f"{path.name} can't be read")
        return {}
    if not isinstance(content, dict):
        faults.append(f"{path.name} can't be read")
        return {}
    _check_schema(content.get("schema", SCHEMA), path)
    return content


def _read_lines(path: Path, names: Sequence[str], faults: list[str]) -> Series:
    lines: list[Mapping[str, Any]] = []
    try:
        # A run that was killed may have left half a last line; it will be made again when the run goes on.
        *whole, _ = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
        whole = []
    except (ValueError, OSError):
        faults.append(f"{path.name} can't be read")
        whole = []
    for line in whole:
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        if isinstance(content, dict):
            lines.append(content)
    if len(lines) < len(whole):
        faults.append(f"{len(whole) - len(lines)} of {path.name}'s {len(whole)} lines can't be read")
    numbers = {name: [_number(line.get(name)) for line in lines] for name in names}
    return Series(
        {name: np.array([math.nan if n is None else n for n in column]) for name, column in numbers.items()}
    )


def _read_samples(path: Path, faults: list[str]) -> Samples | None:
    try:
        table = pq.read_table(path, columns=list(SAMPLE_COLUMNS))
        label, seen, probability = (table[name].to_numpy() for name in SAMPLE_COLUMNS)
        if label.dtype.kind != "i" or seen.dtype.kind != "i":
            raise ValueError("labels and counts must be whole numbers")
        metadata = table.schema.metadata or {}
        _check_schema(int(metadata.get(b"schema", SCHEMA)), path)
        names = json.loads(metadata.get(b"classes", b"null"))
        return Samples(
            label=label.astype(np.int64),
            times_seen=seen.astype(np.int64),
            mean_probability=probability.astype(np.float64),
            classes=tuple(map(str, names)) if isinstance(names, list) else None,
        )
    except FileNotFoundError:
        faults.append(f"{path.name} is missing")
    except RunError:
        raise
    except (pa.ArrowException, KeyError, ValueError, OSError):
        faults.append(f"{path.name} can't be read")
    return None


def _check_schema(schema: object, path: Path) -> None:
    if not isinstance(schema, int) or schema > SCHEMA:
        raise RunError(f"{path} must be of schema {SCHEMA} or older; got {schema}: update budgetrain")


def _number(value: object) -> float | None:
    """The number as it stands in a file, None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
