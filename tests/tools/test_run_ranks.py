"""A rank that ends takes the others with it, which say which one it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from two_ranks import free_port

Words = Callable[..., list[str]]
ENDLESS = ("--epochs", "100000", "--threads", "1", "--checkpoint-seconds", "1e9")


@contextlib.contextmanager
def started(*commands: Sequence[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start two ranks as torchrun does; however the test ends, they don't train on."""
    with contextlib.ExitStack() as at_last:
        ranks, meeting = [], {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        for rank, words in enumerate(commands):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
            process = subprocess.Popen(
                [sys.executable, "-m", "tools.cli", *words],
                env={**os.environ, **place, **meeting},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            ranks.append(at_last.enter_context(process))
            at_last.callback(process.kill)
        yield ranks


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_killed_rank_is_named_by_the_other(tiny_words: Words, tmp_path: Path, killed: int) -> None:
    with started(tiny_words(*ENDLESS), tiny_words(*ENDLESS)) as ranks:
        while not (tmp_path / "runs" / "x" / "steps.jsonl").exists():
            assert [rank.poll() for rank in ranks] == [None, None]
            time.sleep(0.02)
        ranks[killed].send_signal(signal.SIGKILL)
        _, said = ranks[1 - killed].communicate(timeout=600)
        ranks[killed].communicate()
    assert ranks[1 - killed].returncode == 1
    assert said.count("\n") == 1
    assert said.startswith(f"trainer run: rank {killed} ended")


@pytest.mark.long
def test_a_rank_that_refuses_is_named_with_its_reason(tiny_words: Words, tmp_path: Path) -> None:
    # Rank 1 sees another file system.
    missing = tiny_words(*ENDLESS, "--test-data", str(tmp_path / "nothing.beton"))
    with started(tiny_words(*ENDLESS), missing) as ranks:
        said = [rank.communicate(timeout=600)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, 2]
    assert [text.count("\n") for text in said] == [1, 1]
    assert "nothing.beton" in said[1]
    assert said[0].startswith("trainer run: rank 1 ended (")
    assert "nothing.beton" in said[0]
