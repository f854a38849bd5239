"""``trainer bench NAME``: benchmarks against peers, interleaved in one run."""

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
    "profile": ("tools.bench.profile", "ProfileBench"),
    "selection": ("tools.bench.selection", "SelectionBench"),
    "ssl": ("tools.bench.ssl", "SslBench"),
    "ubn": ("tools.bench.ubn", "UbnBench"),
    "speed": ("tools.bench.speed", "SpeedBench"),
}
"""Each bench's module and its class there; a bench's fields are its options."""


MINUTES = 3.0
"""Default minutes of a benchmark, excluding set-up and the first measurement of its slowest case."""


class BenchConfig(Protocol):
    """A benchmark: a frozen dataclass whose fields are its options."""

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Measure the cases within the clock's time, and return their rows."""


_MINUTES_HELP = (
    "Time limit in minutes, divided among the cases: if it is short they are measured less often than "
    "--repeats (at least once), and the last ones are left out; both are reported."
)


@dataclass(frozen=True)
class Bench:
    """One benchmark, ready to run."""

    bench: BenchConfig
    json: Path | None
    minutes: float = MINUTES

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Bench:
        """Parse a command line: the benchmark's name, then its options.

        Raises
        ------
        UsageError
            If there is no such benchmark, or it has no such option.
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
        """Measure, print a table, and write the rows."""
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
