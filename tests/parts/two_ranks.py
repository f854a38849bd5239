"""Programs run on two gloo ranks, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def run_two_ranks(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
    """Run Python code on two ranks, and assert that both end well."""
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared = {**os.environ, **(environment or {}), **meeting}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=600) for rank in ranks] == [0, 0]
