"""``trainer bench NAME``: measures ours against peers, interleaved in one run."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import tyro
from rich.console import Console

from tools.arguments import UsageError, parse
from tools.bench import measure
from tools.bench.clock import Clock
from tools.outputs import check_output

BENCHES = {
    "step": ("tools.bench.step", "StepBench"),
    "rounds": ("tools.bench.rounds", "RoundsBench"),
    "augment": ("tools.bench.augment", "AugmentBench"),
    "samplers": ("tools.bench.samplers", "SamplersBench"),
    "loaders": ("tools.bench.loaders", "LoadersBench"),
    "selection": ("tools.bench.selection", "SelectionBench"),
}
"""Each bench's module and its class there; a bench's fields are its options."""


MINUTES = 3.0
"""What a bench takes by default, beside setting up and what its slowest case needs to be measured once."""


class BenchPart(Protocol):
    """A frozen dataclass whose fields are the bench's options."""

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Measure every case, in the time that the clock has."""


_MINUTES_HELP = (
    "Time to measure in. Cases share it: where it is short they are measured less often than --repeats "
    "(at least once), and those that it ends before are left out; both are told."
)


@dataclass(frozen=True)
class Bench:
    """One bench, ready to be run."""

    bench: BenchPart
    json: Path | None
    minutes: float = MINUTES

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Bench:
        """Read a command line: the bench's name, then its options.

        Raises
        ------
        UsageError
            When there is no such bench, or it has no such option.
        """
        if not words or words[0] not in BENCHES:
            if words[:1] in (["--help"], ["-h"]):
                print(
                    f"usage: {prog} NAME [--json FILE] [--minutes M] [OPTIONS]\n\n"
                    f"NAME is one of {', '.join(BENCHES)}."
                )
                raise SystemExit(0)
            raise UsageError(
                f"bench must be one of {', '.join(BENCHES)}; got {words[0] if words else 'none'!r}"
            )
        module, name = BENCHES[words[0]]
        bench = getattr(importlib.import_module(module), name)
        fields: list[Any] = [
            ("bench", Annotated[bench, tyro.conf.arg(name="")], field()),
            (
                "json",
                Annotated[Path | None, tyro.conf.arg(help="Write the rows to this file.")],
                field(default=None),
            ),
            (
                "minutes",
                Annotated[float, tyro.conf.arg(help=_MINUTES_HELP)],
                field(default=MINUTES),
            ),
        ]
        line: Any = parse(make_dataclass("Options", fields, frozen=True), words[1:], f"{prog} {words[0]}")
        if not line.minutes > 0:
            raise UsageError(f"--minutes must be above 0; got {line.minutes:g}")
        return cls(line.bench, line.json, line.minutes)

    def execute(self, console: Console) -> int:
        """Measure, show a table, and write the rows."""
        if self.json is not None:
            check_output("--json", self.json, "rows.json", mark=b'"case"')
        clock = Clock(60 * self.minutes)
        rows = self.bench.rows(clock)
        measure.show(rows, console)
        for note in clock.notes():
            console.print(f"note: {note}", highlight=False, soft_wrap=True)
        if self.json is not None:
            measure.write(rows, self.json)
        return 0
