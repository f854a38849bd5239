"""``trainer verify``: reads a whole data set and reports damaged samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from pipeline.errors import one_line
from pipeline.formats.verify import verify
from tools.convert import image_progress

_MOST_NAMED = 100


@dataclass(frozen=True)
class Verify:
    """Read every sample of a data set and list the broken ones, or the error that prevents opening it.

    The exit status is 1 if there are any.
    """

    file: tyro.conf.Positional[Path]
    """A converted data set."""

    workers: int | None = None
    """Threads; one per core by default."""

    def execute(self, console: Console) -> int:
        """Read, report and return the exit status; see `pipeline.formats.verify.verify` for the errors."""
        with image_progress(console) as progress:
            task = progress.add_task(f"reading {self.file}", total=None)
            verdict = verify(
                self.file,
                self.workers,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        for index in sorted(verdict.broken)[:_MOST_NAMED]:
            name, fault = verdict.broken[index]
            console.print(
                one_line(f"sample {index} ({name}) {fault}"), highlight=False, markup=False, soft_wrap=True
            )
        if len(verdict.broken) > _MOST_NAMED:
            console.print(f"... and {len(verdict.broken) - _MOST_NAMED:,} more")
        if verdict.refusal is not None:
            console.print(one_line(verdict.refusal), highlight=False, markup=False, soft_wrap=True)
        history = {
            True: "the file is as it was written",
            False: "the file was changed since it was written, or its card belongs to another file",
            None: "the file has no checksums to compare with",
        }[verdict.unaltered]
        state = "sound" if verdict.sound else "broken"
        counts = f"{len(verdict.broken):,} of {verdict.samples:,} samples are broken"
        line = f"{self.file}: {state}; {counts}; {history}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        return 0 if verdict.sound else 1
