"""Training sessions for the check: steps on noise images, and their times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tools.bench.sessions import noise, warm_session
from tools.gpu.outcome import Setting
from tools.profiling.timing import wait_for
from tools.profiling.whole import training_steps
from trainer.data import Data
from trainer.session import Session


@dataclass(frozen=True, slots=True)
class Window:
    """A number of training steps, from an idle device to an idle device.

    Attributes
    ----------
    host, whole
        Milliseconds per step until the host has launched them, and until the device has completed them.
    clock
        Milliseconds per step until losses and times have also been copied to the host.
    phases
        Milliseconds per step by the account's phases, within ``clock``.
    """

    host: float
    whole: float
    clock: float
    phases: dict[str, float]


@dataclass(frozen=True, slots=True)
class Training:
    """A session and its infinite steps, with learning rate 0."""

    session: Session
    steps: Iterator[None]

    def step(self) -> None:
        """Make one step."""
        next(self.steps)

    def settle(self) -> None:
        """Copy everything from the device that logging would copy, and wait until it is idle."""
        self.session.collect()
        self.session.ledger.settle()
        wait_for(self.session.device)

    def window(self, count: int) -> Window:
        """Make ``count`` steps without logging, and time them."""
        self.settle()
        before = dict(self.session.ledger.seconds)
        begin = time.perf_counter()
        for _ in range(count):
            self.step()
        host = time.perf_counter() - begin
        wait_for(self.session.device)
        whole = time.perf_counter() - begin
        self.settle()
        clock = time.perf_counter() - begin
        phases = {
            name: 1e3 * (seconds - before[name]) / count
            for name, seconds in self.session.ledger.seconds.items()
            if seconds > before[name]
        }
        return Window(1e3 * host / count, 1e3 * whole / count, 1e3 * clock / count, phases)


def small_noise(setting: Setting, samples: int) -> Data:
    """Return a data set of ``samples`` images of 32 x 32 noise, far fewer and smaller in smoke mode."""
    samples, pixels = (96, 8) if setting.smoke else (samples, 32)
    return noise(setting.scratch / "noise", samples, pixels)


@contextmanager
def training(setting: Setting, data: Data, name: str, **entries: Any) -> Iterator[Training]:
    """Return a context with a session built from a recipe's entries, after warm-up and its first steps."""
    entries = {"model": "resnet18", "augment": ["standard"], "budget": 1.0, "log_every": 1_000_000, **entries}
    if setting.smoke:
        entries |= {"model": {"name": "resnet8", "width": 2}, "batch_size": 8}
    session = warm_session(data, setting.scratch / name, device=setting.device, **entries)
    try:
        with closing(training_steps(session)) as steps:
            made = Training(session, steps)
            for _ in range(3):
                made.step()
            yield made
    finally:
        session.close()
        if setting.device == "cuda":
            torch.cuda.empty_cache()
