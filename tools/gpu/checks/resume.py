"""A run that was stopped and resumed, against one that was not stopped."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tools.gpu.outcome import Outcome, Setting
from tools.gpu.sessions import small_noise
from trainer import recipe
from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.loop import train
from trainer.metrics import Evaluation
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.session import Session


class StopAt:
    """A watcher that records losses, and stops the run after a step, as by Ctrl-C."""

    def __init__(self, step: int | None) -> None:
        self.losses: list[float] = []
        self._step = step

    def converting(self, name: str, done: int, total: int) -> None:
        """Nothing is converted here."""

    def note(self, text: str) -> None:
        """Print the text, which goes to console.log."""
        print(f"note: {text}")

    def started(self, session: Session, resumed: bool) -> None:
        """Nothing is shown."""

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """Record the loss."""
        self.losses.append(loss)
        if session.ledger.steps == self._step:
            signal.raise_signal(signal.SIGINT)

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """Nothing is shown."""


def check(setting: Setting) -> Outcome:
    """Train a run at once and in two parts, and compare losses, weights and counts per sample."""
    small_noise(setting, 1024)
    folder = setting.scratch / "noise"
    for file in list(folder.glob("train*")):
        (folder / file.name.replace("train", "test", 1)).write_bytes(file.read_bytes())
    run = recipe.from_table(_entries(setting, folder / "train.beton"), where="the GPU check")
    whole, at_once = setting.scratch / "whole", StopAt(None)
    _train(run, whole, at_once)
    parts, first, second = setting.scratch / "parts", StopAt(6), StopAt(None)
    stopped = False
    try:
        _train(run, parts, first)
    except InterruptedRunError:
        stopped = True
    _train(run, parts, second)
    outcome = Outcome({"stopped after step 6": stopped})
    if not stopped:
        outcome.problems.append("a run that was asked to stop went on to its end")
    _compare(outcome, at_once.losses, first.losses + second.losses)
    _compare_folders(outcome, whole, parts)
    return outcome


def _entries(setting: Setting, data: Path) -> dict[str, Any]:
    small: dict[str, Any] = {"model": {"name": "resnet8", "width": 2}, "batch_size": 8, "epochs": 2}
    usual: dict[str, Any] = {"model": "resnet8", "batch_size": 64, "epochs": 4}
    return {
        "data": str(data),
        "budget": 0.5,
        "log_every": 1,
        "device": setting.device,
        "augment": ["standard", "ricap"],
        "sampler": "uniform",
        "deterministic": True,
        **(small if setting.smoke else usual),
    }


def _train(run: Run, folder: Path, watcher: StopAt) -> None:
    train(run, RunFolder(folder, run), World(), watcher).close()


def _compare(outcome: Outcome, whole: list[float], parts: list[float]) -> None:
    outcome.facts |= {"steps": len(whole), "steps in two parts": len(parts)}
    if len(whole) != len(parts):
        outcome.problems.append(f"a run of {len(whole)} steps made {len(parts)} in two parts")
        return
    off = np.abs(np.array(parts) / np.array(whole) - 1)
    outcome.facts["largest difference of a loss, relative"] = float(off.max())
    if off.max() > 0:
        outcome.problems.append(
            f"losses of the resumed run are off by {off.max():.1g} of them, at step {off.argmax() + 1}"
        )


def _compare_folders(outcome: Outcome, whole: Path, parts: Path) -> None:
    weights = [json.loads((folder / "ledger.json").read_text())["weights"] for folder in (whole, parts)]
    seen = [pq.read_table(folder / "samples.parquet")["times_seen"] for folder in (whole, parts)]
    outcome.facts |= {
        "same weights, bit for bit": weights[0] == weights[1],
        "same samples": seen[0] == seen[1],
    }
    if seen[0] != seen[1]:
        outcome.problems.append("the resumed run trained on other samples")
    if weights[0] != weights[1]:
        outcome.problems.append("a resumed run must end with the same weights, bit for bit (--deterministic)")
