"""The process of one cell: ends with the study's own, and computes on its share of the cores only.

``python -m tools.studying.child PARENT CORES COMMAND ...``, where COMMAND is ``run`` with its arguments, as
``trainer run`` takes them, or ``measure`` with a recipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command of the study; the exit status is the command's."""
    parent, cores, command, *words = arguments
    _end_with(int(parent))
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    # Imported here: the number of threads that libraries start follows from the cores.
    if command == "measure":
        from tools.studying.calibration import measure

        return measure(words[0])
    from tools.cli import main as trainer

    # What a run's environment.json records as its command.
    sys.argv = ["trainer", command, *words]
    return trainer([command, *words])


def _end_with(parent: int) -> None:
    """Have the kernel end this process as by SIGTERM when its parent ends: a run then saves a checkpoint."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        # It has ended already.
        sys.exit(130)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
