"""A rank that ends takes the others with it, which say which one it was."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import start_command
from two_ranks import meeting, place

Words = Callable[..., list[str]]
ENDLESS = ("--epochs", "100000", "--threads", "1", "--checkpoint-seconds", "1e9")


@contextlib.contextmanager
def started(folder: Path, *commands: Sequence[str]) -> Iterator[list[BaseProcess]]:
    """Start two ranks as torchrun does; however the test ends, they don't train on."""
    with contextlib.ExitStack() as at_last:
        ranks, shared = [], meeting()
        for rank, words in enumerate(commands):
            with (folder / f"errors-{rank}").open("w") as errors:
                environment = {**shared, **place(rank)}
                ranks.append(start_command(words, environment, errors=errors.fileno()))
            at_last.callback(ranks[-1].kill)
        yield ranks


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_killed_rank_is_named_by_the_other(tiny_words: Words, tmp_path: Path, killed: int) -> None:
    with started(tmp_path, tiny_words(*ENDLESS), tiny_words(*ENDLESS)) as ranks:
        while not (tmp_path / "runs" / "x" / "steps.jsonl").exists():
            assert [rank.exitcode for rank in ranks] == [None, None]
            time.sleep(0.02)
        ranks[killed].kill()
        ranks[1 - killed].join(600)
    assert ranks[1 - killed].exitcode == 1
    said = (tmp_path / f"errors-{1 - killed}").read_text()
    assert said.count("\n") == 1
    assert said.startswith(f"trainer run: rank {killed} ended")


@pytest.mark.long
def test_a_rank_that_refuses_is_named_with_its_reason(tiny_words: Words, tmp_path: Path) -> None:
    # Rank 1 sees another file system.
    missing = tiny_words(*ENDLESS, "--test-data", str(tmp_path / "nothing.beton"))
    with started(tmp_path, tiny_words(*ENDLESS), missing) as ranks:
        for rank in ranks:
            rank.join(600)
    assert [rank.exitcode for rank in ranks] == [1, 2]
    said = [(tmp_path / f"errors-{rank}").read_text() for rank in range(2)]
    assert [text.count("\n") for text in said] == [1, 1]
    assert "nothing.beton" in said[1]
    assert said[0].startswith("trainer run: rank 1 ended (")
    assert "nothing.beton" in said[0]
