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


class BenchPart(Protocol):
    """A frozen dataclass whose fields are the bench's options."""

    def rows(self) -> list[measure.Row]:
        """Measure every case."""


@dataclass(frozen=True)
class Bench:
    """One bench, ready to be run."""

    bench: BenchPart
    json: Path | None

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
                print(f"usage: {prog} NAME [--json FILE] [OPTIONS]\n\nNAME is one of {', '.join(BENCHES)}.")
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
        ]
        line: Any = parse(make_dataclass("Options", fields, frozen=True), words[1:], f"{prog} {words[0]}")
        return cls(line.bench, line.json)

    def execute(self, console: Console) -> int:
        """Measure, show a table, and write the rows."""
        if self.json is not None:
            check_output("--json", self.json, "rows.json", mark=b'"case"')
        rows = self.bench.rows()
        measure.show(rows, console)
        if self.json is not None:
            measure.write(rows, self.json)
        return 0
