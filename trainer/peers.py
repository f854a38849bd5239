"""Error reports between ranks: which rank ended, and why."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch.distributed as dist

from pipeline.formats.strict_json import dumps
from trainer.errors import PeerError
from trainer.lock import process_started
from trainer.parallel import World

PATIENCE = 3.0
"""Seconds to wait for a lost rank's reason, or until its process is found to have ended."""

_LOST = re.compile(r"gloo|NCCL|TCPStore|Connection (closed|reset|refused)|Broken pipe|store", re.IGNORECASE)


class _Store(Protocol):
    """The interface of torch's key-value store, shared by all ranks, as far as used here."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...


@contextmanager
def telling_peers(world: World) -> Iterator[None]:
    """Return a context that reports this rank's error to the others, and names the rank that ended first.

    A killed rank reports nothing: if it was on this machine, it is identified by its missing process.

    Raises
    ------
    PeerError
        If the enclosed work failed because another rank has ended.
    """
    if world.size == 1:
        yield
        return
    store: _Store = dist.distributed_c10d._get_default_store()
    _set(store, f"process/{world.rank}", _this_process())
    try:
        yield
    except BaseException as error:
        if not _of_a_peer(error):
            _set(store, f"ended/{world.rank}", f"{type(error).__name__}: {error}".splitlines()[0])
            raise
        cause = _asked(store, world)
        raise PeerError(f"{cause}; the same command resumes from the last checkpoint") from None


def _of_a_peer(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(_LOST.search(f"{type(error).__name__} {error}"))


def _asked(store: _Store, world: World) -> str:
    """Return what `_first_to_end` does, though the store's host may be stopped and answer nothing."""
    found = ["rank 0 doesn't answer (stopped, hanging or cut off)"]

    def ask() -> None:
        found.append(_first_to_end(store, world))

    asking = threading.Thread(target=ask, name="peers", daemon=True)
    asking.start()
    asking.join(2 * PATIENCE)
    return found[-1]


def _first_to_end(store: _Store, world: World) -> str:
    """Return a message with the rank that ended first, and its reason if it reported one."""
    _set(store, f"followed/{world.rank}", True)
    others = [rank for rank in range(world.size) if rank != world.rank]
    until = time.monotonic() + PATIENCE
    silent: list[int] = []
    while time.monotonic() < until:
        try:
            for rank in others:
                reason = _get(store, f"ended/{rank}")
                if reason is not None:
                    return f"rank {rank} ended ({reason})"
            silent = [rank for rank in others if not _get(store, f"followed/{rank}")]
            gone = [rank for rank in silent if _gone(store, rank)]
        except RuntimeError:
            # The store is hosted by rank 0, unless torchrun hosts it.
            return "rank 0 ended; see its own error message (without one, it was killed, or out of memory)"
        if gone:
            return f"rank {gone[0]} ended without an error message (killed, or out of memory)"
        time.sleep(0.1)
    # After the timeout of a collective operation.
    names = ", ".join(map(str, silent)) or "another one"
    return f"rank {names} doesn't answer (stopped, hanging or cut off)"


def _gone(store: _Store, rank: int) -> bool:
    process = _get(store, f"process/{rank}")
    if process is None or process["host"] != socket.gethostname():
        return False
    return bool(process_started(process["pid"]) != process["started"])


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": process_started(os.getpid())}


def _set(store: _Store, key: str, value: Any) -> None:
    try:
        store.set(f"budgetrain/{key}", dumps(value))
    except RuntimeError:
        # The store ended with rank 0; ranks that read from it will notice.
        return


def _get(store: _Store, key: str) -> Any:
    if not store.check([f"budgetrain/{key}"]):
        return None
    return json.loads(store.get(f"budgetrain/{key}"))
