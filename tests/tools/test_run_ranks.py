"""A rank that ends takes the others with it, which say which one it was."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import start_command, start_program
from two_ranks import meeting, place

Words = Callable[..., list[str]]
ENDLESS = ("--epochs", "100000", "--threads", "1", "--checkpoint-seconds", "1e9")

IMPATIENT = """
import datetime, os, sys
from pathlib import Path
from torch.distributed import distributed_c10d
from tools.cli import main

distributed_c10d.default_pg_timeout = datetime.timedelta(seconds=30)
sys.stdout = Path(os.devnull).open("w")
sys.exit(main(sys.argv[1:]))
"""
"""A command whose ranks wait for each other for less than torch's half an hour."""


@contextlib.contextmanager
def started(
    folder: Path, *commands: Sequence[str], start: Callable[..., BaseProcess] = start_command
) -> Iterator[list[BaseProcess]]:
    """Start two ranks as torchrun does; however the test ends, they don't train on."""
    with contextlib.ExitStack() as at_last:
        ranks, shared = [], meeting()
        for rank, words in enumerate(commands):
            with (folder / f"errors-{rank}").open("w") as errors:
                environment = {**shared, **place(rank)}
                ranks.append(start(words, environment, errors=errors.fileno()))
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


@pytest.mark.long
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_rank_is_named_once_the_other_has_waited_long_enough(
    tiny_words: Words, tmp_path: Path, stopped: int
) -> None:
    # Rank 0 hosts the store that ranks ask for each other's ends, and can't answer while it is stopped.
    words = tiny_words(*ENDLESS)
    with started(tmp_path, words, words, start=partial(start_program, IMPATIENT)) as ranks:
        while not (tmp_path / "runs" / "x" / "steps.jsonl").exists():
            assert [rank.exitcode for rank in ranks] == [None, None]
            time.sleep(0.02)
        process = ranks[stopped].pid
        assert process is not None
        os.kill(process, signal.SIGSTOP)
        ranks[1 - stopped].join(600)
    assert ranks[1 - stopped].exitcode == 1
    said = (tmp_path / f"errors-{1 - stopped}").read_text()
    assert said.startswith(f"trainer run: rank {stopped} doesn't answer")
    assert said.count("\n") == 1
