"""Interleaved measurement of this project and its peers: medians, ratios and result rows."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.formats.strict_json import dumps
from tools.arguments import UsageError
from tools.bench.clock import Clock


@dataclass(frozen=True, slots=True)
class Row:
    """One measured case.

    Attributes
    ----------
    case
        Name of the case, such as ``draw/wr/1e6``.
    peer
        Name of the peer; None if the case has none.
    ours, theirs
        Medians in ``unit``.
    unit
        Units that end in ``/s`` are rates, where higher is better; in all others lower is better.
    ratio
        Improvement over the peer: below 1 if ours is worse. None without a peer, or if the worse of the two
        is 0.
    """

    case: str
    peer: str | None
    ours: float
    theirs: float | None
    unit: str
    ratio: float | None

    @classmethod
    def compare(
        cls, case: str, ours: float, unit: str, peer: str | None = None, theirs: float | None = None
    ) -> Row:
        """Return a row, with its ratio, from two medians in the same unit."""
        ratio = None
        if theirs is not None:
            better, worse = (ours, theirs) if unit.endswith("/s") else (theirs, ours)
            ratio = better / worse if worse else None
        return cls(case, peer, ours, theirs, unit, ratio)


def check_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that an option of a bench doesn't take.

    Raises
    ------
    UsageError
        With those that it takes.
    """
    for name in names:
        if name not in known:
            raise UsageError(f"{option} must be of {', '.join(known)}; got {name!r}")


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleave(
    works: Sequence[Callable[[], object]], repeats: int, warmup: int = 1, clock: Clock | None = None
) -> list[float]:
    """Return each work's median seconds, interleaved A B C A B C ... so that drift affects all equally.

    Measures less often than ``repeats`` if the ``clock`` has no more time.
    """
    clock = clock or Clock()
    for work in works:
        for _ in range(warmup):
            work()
    times: list[list[float]] = [[] for _ in works]
    gc.collect()
    while clock.goes_on(len(times[0]), repeats):
        for column, work in zip(times, works, strict=True):
            column.append(seconds(work))
    return [statistics.median(column) for column in times]


def show(rows: Iterable[Row], console: Console) -> None:
    """Print rows as a table."""
    table = Table("case", "peer", "ours", "theirs", "unit", "ratio")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        theirs = "" if row.theirs is None else f"{row.theirs:,.4g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
        table.add_row(row.case, row.peer or "", f"{row.ours:,.4g}", theirs, row.unit, ratio)
    console.print(table)


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as a JSON list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
