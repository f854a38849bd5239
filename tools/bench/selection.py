"""Benchmark of the overhead of selections: steps with a selection against plain steps, interleaved."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.arguments import UsageError
from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.sessions import noise, training, warm_session
from tools.profiling.timing import wait_for
from trainer.data import Data
from trainer.session import Session

CASES = (
    "foms/0.43",
    "foms/0.29",
    "ordered_sgd",
    "focal",
    "impon",
    "selective_backprop",
)

_FOMS = re.compile(r"foms/0?\.\d+")


@dataclass(frozen=True)
class SelectionBench:
    """Overhead of selections over plain training of the same samples: 0.1 is 10% more time.

    select/foms/R scores a pool of twice the batch at R times the training resolution, everything included:
    candidates are read at that stored size, and selected samples again at full size. Training on the selected
    samples is the same work with any selection, so it is excluded from the difference: if a step takes
    seconds, its noise is larger than the overhead. select/impon measures only its linear model: choosing and
    learning. For select/selective_backprop the figure is measured time / the ledger's prediction - 1.
    """

    cases: tuple[str, ...] = CASES
    """Cases: foms/R (R a fraction, rounded to 8 pixels), ordered_sgd, focal, impon and selective_backprop."""

    model: str = "torchvision"
    """Network to train; torchvision means its ResNet-18, whose stem is designed for 224 px. This project's
    resnet18 is designed for small images, and has some fifteen times its FLOPs at 224 px."""

    pixels: int = 224
    """Height and width of the images."""

    batch_size: int = 8
    """Images per step."""

    repeats: int = 7
    """Measurements per case; medians are reported."""

    steps: int = 1
    """Steps per measurement."""

    compile: bool = False
    """Compile training steps and scoring passes."""

    device: str = "auto"
    """Device to train on."""

    def __post_init__(self) -> None:
        for case in self.cases:
            if case not in CASES and not _FOMS.fullmatch(case):
                raise UsageError(
                    f"cases must be of {', '.join(CASES)}, or foms/R, R a fraction below 1; got {case!r}"
                )

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Return one row per case, as a fraction of a plain step's time."""
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            levels = {self._scored(case) for case in self.cases if case.startswith("foms/")}
            data = noise(Path(scratch), 256, self.pixels, tuple(sorted(levels)))
            clock = clock or Clock()
            # Shared by all cases: building it and its warm-up take as long as measuring a case.
            plain = self._session(data, Path(scratch) / "plain")
            beside = plain, self._steps(plain)
            try:
                return [
                    self._row(case, data, Path(scratch), beside, clock) for case in clock.cases(self.cases)
                ]
            finally:
                plain.close()

    def _scored(self, case: str) -> int:
        """Return the image size at which foms/R scores: 96 and 64 of 224, as published, for 0.43 and 0.29."""
        return 8 * max(1, round(float(case[5:]) * self.pixels / 8))

    def _row(
        self, case: str, data: Data, scratch: Path, beside: tuple[Session, Callable[[], None]], clock: Clock
    ) -> measure.Row:
        name = case.split("/")[0]
        if name == "impon":
            return self._linear_model(data, scratch, clock)
        entries: dict[str, Any] = {"selection": name}
        if name == "foms":
            entries = {"selection": {"name": name, "pixels": self._scored(case), "start": 0.0}}
        elif name == "focal":
            entries = {"method": name}
        elif name == "selective_backprop":
            entries = {"selection": {"name": name, "start": 0.0, "keep": 0.3}}
        ours = self._session(data, scratch / "ours", **entries)
        plain, plain_steps = beside
        works = [self._steps(ours), plain_steps]
        if name == "selective_backprop":
            return self._prediction(case, ours, works, clock)
        if name == "foms":
            added = self._beside_training((ours, plain), works, clock)
        else:
            mine, theirs = measure.interleave(works, self.repeats, clock=clock)
            added = mine / theirs - 1
        ours.close()
        return measure.Row.compare(f"select/{case}", added, "fraction of a plain step")

    def _beside_training(
        self, sessions: Sequence[Session], works: Sequence[Callable[[], object]], clock: Clock
    ) -> float:
        """Return the first work's extra time, training excluded, as a fraction of the second's time."""
        beside: list[list[float]] = [[] for _ in works]
        whole: list[list[float]] = [[] for _ in works]
        for work in works:
            work()
        while clock.goes_on(len(whole[0]), self.repeats):
            for session, work, rest, all_ in zip(sessions, works, beside, whole, strict=True):
                before = _training_seconds(session)
                seconds = measure.seconds(work)
                rest.append(seconds - (_training_seconds(session) - before))
                all_.append(seconds)
        mine, theirs = map(statistics.median, beside)
        return (mine - theirs) / statistics.median(whole[1])

    def _prediction(
        self, case: str, ours: Session, works: Sequence[Callable[[], object]], clock: Clock
    ) -> measure.Row:
        """Compare a selecting run's time with its ledger's cost times the measured time per plain sample."""
        spent = ours.account.compute
        trained = self.steps * self.batch_size
        mine, theirs, done = 0.0, 0.0, 0
        while clock.goes_on(done, self.repeats):
            mine += measure.seconds(works[0])
            theirs += measure.seconds(works[1])
            done += 1
        predicted = (ours.account.compute - spent) * theirs / (done * trained)
        ours.close()
        return measure.Row.compare(
            f"select/{case}", mine / predicted - 1, "fraction of the ledger's prediction"
        )

    def _linear_model(self, data: Data, scratch: Path, clock: Clock) -> measure.Row:
        published = {"name": "impon", "ratio": 200 / 128}
        session = self._session(data, scratch / "impon", selection=published)
        selector = session.selector
        session.begin_round()
        raw = next(session.candidates())
        (ready,) = selector.ready(raw, session.stage, select=session.selector.on(0.5))
        losses = session.step(ready.batch, progress=1.0)
        candidates = selector.candidates_of(raw.augment(), session.stage)

        def linear() -> None:
            choice = selector.selection.choose(candidates)
            selector.selection.observe(losses, ready.batch, choice)
            wait_for(session.device)

        def step() -> None:
            session.step(ready.batch, progress=1.0)
            wait_for(session.device)

        mine, theirs = measure.interleave([linear, step], self.repeats, clock=clock)
        session.close()
        return measure.Row.compare("select/impon", mine / theirs, "fraction of a plain step")

    def _session(self, data: Data, folder: Path, **entries: Any) -> Session:
        common: dict[str, Any] = {
            "model": {"name": self.model, "arch": "resnet18"} if self.model == "torchvision" else self.model,
            "augment": ["random_resized_crop"],
            "batch_size": self.batch_size,
            "device": self.device,
            "compile": self.compile,
            "budget": 1.0,
        }
        return warm_session(data, folder, counts="compute", **common, **entries)

    def _steps(self, session: Session) -> Callable[[], None]:
        # In the middle of the budget, where every selection is active.
        session.account.charge("trained", int(session.account.total) // 2, session.full)
        steps = training(session)

        def work() -> None:
            for _ in range(self.steps):
                next(steps)
            session.collect()

        return work


def _training_seconds(session: Session) -> float:
    session.ledger.settle()
    return sum(session.ledger.seconds[phase] for phase in ("forward", "backward", "optimize"))
