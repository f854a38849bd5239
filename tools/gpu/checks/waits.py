"""Checks that no operation of a training step synchronizes with the device, by torch's sync debug mode."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tools.gpu.outcome import Outcome, Row, Setting
from tools.gpu.sessions import small_noise, training

SELECTIONS = ("all", "ordered_sgd", "foms", "impon", "selective_backprop_exact", "greedy", "gradient_norm")
AUGMENTS = (["standard", "ricap"], ["randaugment", "standard", "mixup"], ["ssl"], ["autoaugment", "cutmix"])
STEPS = 5
NO_WAIT = "no wait"
WAIT = "synchronizing CUDA operation"
"""Part of torch's message about a synchronization; other errors are not this section's."""


def check(setting: Setting) -> Outcome:
    """Make steps in which torch raises an error at every synchronization, per selection and augmentation."""
    outcome = Outcome()
    rows: list[Row] = []
    data = small_noise(setting, 4096)
    selections: list[tuple[str, list[str]]] = [(name, ["standard", "ricap"]) for name in SELECTIONS]
    cases = [*selections, *(("all", augment) for augment in AUGMENTS[1:])]
    for selection, augment in setting.clock.cases(cases[:1] if setting.smoke else cases):
        name = f"{selection}, {' + '.join(augment)}"
        chosen = {"name": selection} | ({} if selection == "all" else {"start": 0.0, "end": 1.0})
        entries = {"model": "resnet8", "batch_size": 64, "augment": augment, "selection": chosen}
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
