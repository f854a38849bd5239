"""Checks that no operation of a training step synchronizes with the device, by torch's sync debug mode."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tools.gpu.outcome import Outcome, Row, Setting
from tools.gpu.sessions import small_noise, training
from trainer.optimizers import OPTIMIZERS

SELECTIONS = ("all", "ordered_sgd", "foms", "impon", "selective_backprop_exact", "greedy", "gradient_norm")
AUGMENTS = (["standard", "ricap"], ["randaugment", "standard", "mixup"], ["ssl"], ["autoaugment", "cutmix"])
SETTINGS: dict[str, dict[str, Any]] = {
    **{f"optimizer {name}": {"optimizer": name} for name in OPTIMIZERS if name != "sgd"},
    "micro-batches, clipped, averaged": {"accumulate": 2, "clip_norm": 1.0, "ema": 0.999},
    "gradient checkpointing": {"gradient_checkpointing": True},
    # Steps of optimizers that torch doesn't fuse look on the host whether gradients overflowed.
    "fp16": {"precision": "fp16", "clip_norm": 1.0},
}
"""Further settings of a step, by what tables call them."""

STEPS = 5
NO_WAIT = "no wait"
WAIT = "synchronizing CUDA operation"
"""Part of torch's message about a synchronization; other errors are not this section's."""


def check(setting: Setting) -> Outcome:
    """Make steps in which torch raises an error at every synchronization, of each selection and setting."""
    outcome = Outcome()
    rows: list[Row] = []
    data = small_noise(setting, 4096)
    cases = [
        *(_case(selection, AUGMENTS[0]) for selection in SELECTIONS),
        *(_case("all", augment) for augment in AUGMENTS[1:]),
        *SETTINGS.items(),
    ]
    for name, more in setting.clock.cases(cases[:1] if setting.smoke else cases):
        entries: dict[str, Any] = {"model": "resnet8", "batch_size": 64, "augment": AUGMENTS[0], **more}
        row: Row
        with training(setting, data, f"run-{len(rows)}", **entries) as made:
            row = {"step": name, "found": NO_WAIT, "where": None}
            try:
                with waits_raise(setting.device):
                    for _ in range(STEPS):
                        made.step()
            except RuntimeError as error:
                if WAIT not in str(error):
                    raise
                row = {"step": name, "found": str(error)[:200], "where": _where(error)}
                outcome.problems.append(f"a step of {name} waits for the device, in {row['where']}")
        rows.append(row)
    outcome.tables[f"{STEPS} steps of batches of 64, without the log's"] = rows
    if setting.device != "cuda":
        outcome.notes.append("waits exist on CUDA only; here the steps were made without the check")
    return outcome


def _case(selection: str, augment: list[str]) -> tuple[str, dict[str, Any]]:
    """Return a case's name, and its entries of a recipe."""
    chosen = {"name": selection} | ({} if selection == "all" else {"start": 0.0, "end": 1.0})
    return f"{selection}, {' + '.join(augment)}", {"augment": augment, "selection": chosen}


@contextmanager
def waits_raise(device: str) -> Iterator[None]:
    """Return a context in which every synchronization with a CUDA device raises a RuntimeError."""
    if device != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _where(error: RuntimeError) -> str:
    """Return the innermost line of this project's packages in the traceback of ``error``."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or list(frames)
    return f"{ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}"
