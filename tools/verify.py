"""``trainer verify``: reads a whole data set and says whether it is sound."""

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
    """Read every sample of a data set and name the broken ones, and what keeps it from being opened.

    Exit status 1 when there is anything of that.
    """

    file: tyro.conf.Positional[Path]
    """A converted data set."""

    workers: int | None = None
    """Threads; one per core by default."""

    def execute(self, console: Console) -> int:
        """Read, report and give the exit status; see `pipeline.formats.verify.verify` for the errors."""
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
            False: "the file was altered since it was written, or its card is another file's",
            None: "the file has no checksums to compare with",
        }[verdict.unaltered]
        state = "sound" if verdict.sound else "broken"
        counts = f"{len(verdict.broken):,} of {verdict.samples:,} samples are broken"
        line = f"{self.file}: {state}; {counts}; {history}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        return 0 if verdict.sound else 1
