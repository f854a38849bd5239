"""The sinks of a run under way, together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from trainer.errors import RunError
from trainer.sinks.json_lines import JsonLines
from trainer.sinks.protocol import Line, Sink, SinkConfig, SinkContext


class Sinks:
    """Every sink of a run, opened; a context manager that closes them.

    Parameters
    ----------
    configs
        None on ranks that log nothing.
    """

    def __init__(self, configs: Sequence[SinkConfig], context: SinkContext) -> None:
        self._sinks: list[Sink] = []
        with ExitStack() as stack:
            for config in configs:
                sink = config.open(context)
                stack.callback(sink.close)
                self._sinks.append(sink)
            self._closing = stack.pop_all()

    def step(self, line: Line) -> None:
        """Hand the figures of the steps since the last line to every sink."""
        for sink in self._sinks:
            sink.step(line)

    def evaluation(self, line: Line) -> None:
        """Hand an evaluation to every sink."""
        for sink in self._sinks:
            sink.evaluation(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()


def with_json_lines(configs: Sequence[SinkConfig]) -> tuple[SinkConfig, ...]:
    """Return sinks with the JSON lines, which every run has, before the others."""
    lines = [config for config in configs if isinstance(config, JsonLines)]
    return (*(lines or [JsonLines()]), *(config for config in configs if not isinstance(config, JsonLines)))


def check_sinks(configs: Sequence[SinkConfig]) -> None:
    """Refuse a sink that is named twice.

    Raises
    ------
    RunError
        When one is.
    """
    kinds = [type(config) for config in configs]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise RunError(f"sinks must be different ones; got {twice.__name__} twice: leave one out")
