"""CSV tables, for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.formats.whole import write_whole
from pipeline.text import csv_text
from trainer.errors import RunError
from trainer.sinks.protocol import Line, SinkContext

STEPS = ("step", "round", "samples", "progress", "pixels", "lr", "loss", "accuracy", "seconds", "rate")
EVALUATIONS = ("step", "round", "samples", "progress", "compute", "seconds", "entropy")
"""Columns of the two tables; metrics follow those of evaluations."""


@dataclass(frozen=True)
class CsvTables:
    """steps.csv and evaluations.csv in the run folder, a row per line of the JSON files."""

    def check(self) -> None:
        """No-op: nothing is needed."""

    def open(self, context: SinkContext) -> OpenCsvTables:
        """Return the sink, its tables written again as far as earlier sessions came."""
        return OpenCsvTables(context)


class OpenCsvTables:
    """Adds rows to the two tables."""

    def __init__(self, context: SinkContext) -> None:
        self._steps = _Table(context.path / "steps.csv", STEPS, context.earlier("steps.jsonl"))
        evaluations = map(_flat, context.earlier("evaluations.jsonl"))
        columns = (*EVALUATIONS, *context.metrics)
        self._evaluations = _Table(context.path / "evaluations.csv", columns, evaluations)

    def step(self, line: Line) -> None:
        """Add a row to steps.csv."""
        self._steps.append(line)

    def evaluation(self, line: Line) -> None:
        """Add a row to evaluations.csv."""
        self._evaluations.append(_flat(line))

    def close(self) -> None:
        """No-op: each row is written at once."""


class _Table:
    def __init__(self, path: Path, columns: Sequence[str], lines: Iterable[Line]) -> None:
        self._path, self._columns = path, columns
        text = csv_text([columns, *map(self._cells, lines)])
        write_whole(path, text.encode())

    def append(self, line: Line) -> None:
        try:
            with self._path.open("a") as file:
                file.write(csv_text([self._cells(line)]))
        except OSError as error:
            raise RunError(
                f"{self._path} can't be written: {error.strerror or error}; once it can, the same command "
                "goes on from the last checkpoint"
            ) from None

    def _cells(self, line: Line) -> list[Any]:
        return [line.get(column) for column in self._columns]


def _flat(line: Line) -> Line:
    return {**line, **line["metrics"]}
