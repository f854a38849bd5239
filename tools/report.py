"""trainer report: one self-contained HTML page for one run, or for several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pipeline.errors import UnwritableError
from pipeline.formats.whole import write_whole
from tools.outputs import check_output
from tools.reporting.folder import read_run
from tools.reporting.page import page
from tools.streams import say
from tools.summary import summary
from trainer.errors import RunError


@dataclass(frozen=True)
class Report:
    """Set one run, or several side by side, as one HTML page that is readable without a network."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)"),
    ]
    """Run folders; the first one is what the others are compared with."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """The page's file (default: report.html in the run folder; for several, beside the first one)."""

    def execute(self, console: Console) -> int:
        """Write the page and print where it is."""
        if self.out is not None:
            check_output("--out", self.out, "report.html")
        try:
            out = write_report(self.runs, self.out)
        except UnwritableError as error:
            if self.out is not None:
                raise
            # Runs on a read-only disk are reported all the same.
            for run in self.runs:
                console.print(summary(run))
            say(f"note: {error}: --out FILE writes the page elsewhere")
            return 0
        console.print(f"report: {out}", highlight=False, soft_wrap=True, markup=False)
        return 0


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of ``runs`` as one HTML file, atomically, and return its path.

    Parameters
    ----------
    runs
        Run folders, finished or not; the others are compared with the first.
    out
        The file; by default ``report.html`` in the run folder, or for several runs beside the first one.

    Raises
    ------
    RunError
        When no run is given, when one isn't a run folder, or when ``out`` is a folder.
    DataError
        When the file can't be written.
    """
    if not runs:
        raise RunError("report needs at least one run folder; got none: runs are made by `trainer run`")
    records = [read_run(path) for path in runs]
    if out is None:
        folder = runs[0] if len(runs) == 1 else runs[0].resolve().parent
        out = folder / "report.html"
    if out.is_dir():
        raise RunError(
            f"out must be a file; got the folder {out}: name a file in it, as {out / 'report.html'}"
        )
    write_whole(out, page(records).encode(errors="replace"))
    return out
