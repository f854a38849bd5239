"""Faults of a device in the midst of a run, as one line with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.config import Run
from trainer.errors import RunError
from trainer.slots import SLOTS

_NOT_REPEATABLE = "does not have a deterministic implementation"


@contextmanager
def in_one_line(run: Run) -> Iterator[None]:
    """Return a context in which a lack of the device's memory, or of repeatable kernels, is a `RunError`.

    Raises
    ------
    RunError
        With what to change.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(_memory(run, str(error))) from None
    except RuntimeError as error:
        operation, found, _ = str(error).partition(_NOT_REPEATABLE)
        if not found:
            raise
        raise RunError(
            f"deterministic needs kernels that repeat; {operation.strip()} has none on this device: leave "
            "--deterministic out, or take another part"
        ) from None


def _memory(run: Run, text: str) -> str:
    engine = SLOTS["engine"].named(run)
    parts = f" in {run.accumulate} micro-batches" if run.accumulate > 1 else ""
    ways = ["lower --batch-size", f"give --accumulate {2 * run.accumulate}"]
    ways += [] if run.gradient_checkpointing or run.compile else ["--gradient-checkpointing"]
    ways += ["--engine ffcv, which keeps no images there"] if engine == "resident" else []
    return (
        f"the device's memory must suffice for batches of {run.batch_size}{parts} and engine {engine}; "
        f"there is no more to be had ({text.partition('.')[0]}): {', '.join(ways[:-1])} or {ways[-1]}"
    )
