"""Programs run on two gloo ranks, as torchrun starts them."""

from __future__ import annotations

import socket

from forked import start_program

WATCHED = "import faulthandler\nfaulthandler.dump_traceback_later(240)\n"
"""Before a program: where it hangs is printed, once."""


def meeting() -> dict[str, str]:
    """Return what torchrun tells its ranks in their environment, but for the number of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def place(rank: int) -> dict[str, str]:
    """Return what torchrun tells one rank alone."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)}


def run_two_ranks(program: str, *arguments: str) -> None:
    """Run Python code on two ranks, and assert that both end well."""
    shared = meeting()
    ranks = [start_program(WATCHED + program, arguments, {**shared, **place(rank)}) for rank in range(2)]
    for rank in ranks:
        rank.join(600)
    assert [rank.exitcode for rank in ranks] == [0, 0]
