"""Memory held by a process's decoded data sets, and whether another one fits beside them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pipeline.machine import address_space, free_memory, processes


class Held:
    """Accounting of the host memory that open data sets take in this process.

    The processes that train together on a machine open the same sets at about the same time, so the
    memory that one of them finds free when it opens its first set must suffice for all sets of all of them.

    Parameters
    ----------
    free
        Returns the bytes that can still be had by all processes together.
    alone
        Returns the bytes that this process may still ask for; None for any number.
    ranks
        Returns how many processes open the same sets.
    """

    def __init__(
        self,
        free: Callable[[], int] = free_memory,
        alone: Callable[[], int | None] = address_space,
        ranks: Callable[[], int] = processes,
    ) -> None:
        self._free, self._alone, self._ranks = free, alone, ranks
        self._lock = threading.Lock()
        self._bytes = 0
        self._at_first = 0
        self._released: deque[int] = deque()

    def take(self, needed: int) -> str | None:
        """Reserve ``needed`` bytes, to be freed by `release`.

        Returns
        -------
        str or None
            Why they don't fit, if they don't; nothing is reserved then.
        """
        with self._lock:
            self._settle()
            free, alone, ranks = self._free(), self._alone(), self._ranks()
            if self._bytes == 0:
                self._at_first = free
            whole = ranks * (self._bytes + needed)
            beside = f", beside {_size(self._bytes)} of sets that are open already" if self._bytes else ""
            times = f", in each of {ranks} processes" if ranks > 1 else ""
            if whole > self._at_first:
                return f"{_size(needed)}{beside}{times}, and {_size(self._at_first)} were free for all of it"
            if needed > free:
                return f"{_size(needed)}{beside}, and {_size(free)} are free"
            if alone is not None and needed > alone:
                return f"{_size(needed)}{beside}, and ulimit -v leaves {_size(alone)}"
            self._bytes += needed
            return None

    @property
    def bytes(self) -> int:
        """Bytes held by open data sets, by device."""
        with self._lock:
            self._settle()
            return self._bytes

    def _settle(self) -> None:
        while self._released:
            self._bytes -= self._released.popleft()

    def release(self, amount: int) -> None:
        """Free ``amount`` bytes at the next reservation.

        Without the lock: the garbage collector may call this in the midst of `take`, in the same thread.
        """
        self._released.append(amount)


def _size(amount: int) -> str:
    return f"{amount / 2**30:,.1f} GiB" if amount >= 1 << 30 else f"{amount / 2**20:,.0f} MiB"
