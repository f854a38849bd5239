"""JSON lines, which reports read and from which other sinks are filled again after an interruption."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.sinks.protocol import Line, SinkContext


@dataclass(frozen=True)
class JsonLines:
    """steps.jsonl and evaluations.jsonl in the run folder; every run has them, other sinks stand beside."""

    def check(self) -> None:
        """No-op: nothing is needed."""

    def open(self, context: SinkContext) -> OpenJsonLines:
        """Return the sink."""
        return OpenJsonLines(context)


class OpenJsonLines:
    """Adds lines to the two files."""

    def __init__(self, context: SinkContext) -> None:
        self._append = context.append

    def step(self, line: Line) -> None:
        """Add a line to steps.jsonl."""
        self._append("steps.jsonl", line)

    def evaluation(self, line: Line) -> None:
        """Add a line to evaluations.jsonl."""
        self._append("evaluations.jsonl", line)

    def close(self) -> None:
        """No-op: each line is written at once."""
