"""Benchmark of the speedrun: recipes against the record training as a plain loop, on one device and set."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline import Loader
from tools.arguments import UsageError
from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.record import Images, RecordTraining
from tools.bench.sessions import noise, training
from tools.bench.speed_runs import CASES, Selected, SpeedRuns, steps_of
from trainer.begin import open_session
from trainer.build import build
from trainer.config import Run
from trainer.data import Data, open_data
from trainer.hardware.device import choose_device
from trainer.inference.predict import EverySample
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.warmup import warm_up
from trainer.watch import Silent

_NARROW = 0.25
_SMALL = 256
_SAMPLES = 4096


@dataclass(frozen=True)
class SpeedBench:
    """Seconds of a whole training: cifar10_speed against the record's algorithm as a plain loop.

    By default steps are measured, on noise of CIFAR-10's size, and multiplied by the number of a training's
    steps; evaluations are left out. --full trains to the end on CIFAR-10, --repeats times with seeds in
    pairs, and adds rows of accuracy. The plain loop has the same network, and half precision throughout, as
    its author's script.
    speed/cifar10-selected is our recipe with fewer samples or a selection; speed/cifar10-96-proxy the recipe
    cifar10_speed96 against itself without the proxy, each loading 45 epochs.
    """

    cases: tuple[str, ...] = CASES
    """Cases to measure: cifar10, cifar10-selected, cifar10-96-proxy."""

    full: bool = False
    """Train to the end, on CIFAR-10 in the data directory, and compare accuracies, too."""

    selected: Selected = "rs2"
    """How cifar10-selected spares samples: by rs2 at budget 0.9, or by a proxy's choice of three in four."""

    width: float | None = None
    """Width of the networks, relative to the recipes'; None takes 1 on a GPU and for --full, else 0.25."""

    batch_size: int | None = None
    """Images per step; None takes the recipes' on a GPU and for --full, else 256."""

    epochs: float | None = None
    """Length of trainings, for --full; None takes the recipes'."""

    repeats: int = 5
    """Measurements per case, or trainings; medians are reported of times, means of accuracies."""

    steps: int = 4
    """Steps per measurement."""

    compile: bool = False
    """Compile both sides' networks."""

    device: str = "auto"
    """Device to train on."""

    threads: int | None = None
    """CPU threads within an operation; None means PyTorch's default."""

    data_dir: Path | None = None
    """Folder of data sets; None means $BUDGETRAIN_DATA, else ./data."""

    def __post_init__(self) -> None:
        measure.check_names("cases", self.cases, CASES)
        for name in ("width", "batch_size", "epochs"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be above 0; got {value:g}")

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Return a row of seconds per case; with ``full`` also of accuracies, and of the number of runs."""
        clock = clock or Clock()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            found: list[measure.Row] = []
            for case in clock.cases(self.cases):
                measured = self._trained if self.full else self._timed
                found += measured(case, Path(scratch) / case, clock)
            return found

    @property
    def _runs(self) -> SpeedRuns:
        small = not self.full and choose_device(self.device, World()).type == "cpu"
        return SpeedRuns(
            factor=self.width if self.width is not None else _NARROW if small else 1.0,
            batch_size=self.batch_size if self.batch_size is not None else _SMALL if small else None,
            epochs=self.epochs,
            selected=self.selected,
            device=self.device,
            compile=self.compile,
            threads=self.threads,
            data_dir=self.data_dir,
        )

    # --- Step times --------------------------------------------------------------------------------------

    def _timed(self, case: str, folder: Path, clock: Clock) -> list[measure.Row]:
        folder.mkdir()
        device = choose_device(self.device, World())
        ours = self._runs.ours(case)
        works, totals = [], []
        runs = [ours] if case != "cifar10-96-proxy" else [ours, self._runs.without()]
        # The plain loop crops all images at an epoch's beginning: a measurement is one epoch.
        samples = self.steps * ours.batch_size if len(runs) == 1 else max(_SAMPLES, 8 * ours.batch_size)
        data = noise(folder, samples=samples, pixels=32)
        for number, run in enumerate(runs):
            works.append(self._session_steps(run, data, folder / f"{number}", device))
            totals.append(steps_of(run))
        if len(runs) == 1:
            plain = RecordTraining(
                _images(data, device),
                ours.model,  # type: ignore[arg-type]
                10,
                batch_size=ours.batch_size,
                epochs=10_000,
                seed=0,
                compiled=self.compile,
            )
            works.append(self._plain_steps(plain, device))
            totals.append(steps_of(self._runs.plain("cifar10")))
        taken = measure.interleave(works, self.repeats, warmup=1, clock=clock)
        seconds = [total * time / self.steps for total, time in zip(totals, taken, strict=True)]
        peer = "without the proxy" if len(runs) > 1 else "plain loop"
        return [measure.Row.compare(f"speed/{case}", seconds[0], "s", peer, seconds[1])]

    def _session_steps(self, run: Run, data: Data, folder: Path, device: torch.device) -> Callable[[], None]:
        endless = replace(run, epochs=100_000)
        session = build(endless, RunFolder(folder, endless), data, World(), device)
        warm_up(session)
        steps = training(session)

        def work() -> None:
            for _ in range(self.steps):
                next(steps)
            session.collect()

        return work

    def _plain_steps(self, plain: RecordTraining, device: torch.device) -> Callable[[], None]:
        steps = plain.steps()

        def work() -> None:
            for _ in range(self.steps):
                next(steps)
            _wait(device)

        return work

    # --- Whole trainings ---------------------------------------------------------------------------------

    def _trained(self, case: str, folder: Path, clock: Clock) -> list[measure.Row]:
        sides: list[Callable[[int], tuple[float, float]]] = [
            lambda seed: _train(self._runs.ours(case, seed=seed), folder / f"ours-{seed}")
        ]
        if case == "cifar10-96-proxy":
            peer = "without the proxy"
            sides.append(lambda seed: _train(self._runs.without(seed=seed), folder / f"without-{seed}"))
        else:
            peer = "plain loop"
            sides.append(self._record())
        found: list[list[tuple[float, float]]] = [[], []]
        while clock.goes_on(len(found[0]), self.repeats):
            seed = len(found[0])
            for side, trained in zip(sides, found, strict=True):
                trained.append(side(seed))
        seconds = [statistics.median(row[0] for row in trained) for trained in found]
        means = [100 * statistics.mean(row[1] for row in trained) for trained in found]
        name = f"speed/{case}"
        return [
            measure.Row.compare(name, seconds[0], "s", peer, seconds[1]),
            # By how many times an accuracy is better says nothing.
            measure.Row(f"{name}/accuracy", peer, means[0], means[1], "%", None),
            measure.Row(f"{name}/accuracy-difference", peer, means[0] - means[1], None, "points", None),
            measure.Row(f"{name}/trainings", peer, len(found[0]), len(found[1]), "pairs", None),
        ]

    def _record(self) -> Callable[[int], tuple[float, float]]:
        """Return what trains the plain loop to its end on the files of our runs."""
        run, device = self._runs.plain("cifar10"), choose_device(self.device, World())
        data = open_data(run, World(), Silent().converting)
        train = _images(data, device)
        test = _images(Data(data.test, data.test), device)

        def side(seed: int) -> tuple[float, float]:
            plain = RecordTraining(
                train,
                run.model,  # type: ignore[arg-type]
                len(data.train.card.classes),
                batch_size=run.batch_size,
                epochs=round(run.epochs),
                seed=seed,
                compiled=self.compile,
            )

            def work() -> None:
                for _ in plain.steps():
                    pass
                accuracies.append(plain.accuracy(test))
                _wait(device)

            accuracies: list[float] = []
            return measure.seconds(work), accuracies[0]

        return side


def _train(run: Run, folder: Path) -> tuple[float, float]:
    """Train a run to its end; return the seconds of training and last evaluation, and the accuracy."""
    found: list[float] = []
    with open_session(run, RunFolder(folder, run)) as session:

        def work() -> None:
            for current in session.rounds():
                for _ in session.steps(current):
                    pass
                session.finish(current)
            found.append(session.evaluate()["accuracy"])
            _wait(session.device)

        return measure.seconds(work), found[0]


def _images(data: Data, device: torch.device) -> Images:
    """Return a training set for the plain loop."""
    with Loader(data.train, batch_size=len(data.train), device="cpu") as loader:
        (batch,) = loader.batches(EverySample(len(data.train)))
        return Images.of(batch.images, batch.targets["label"], device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
