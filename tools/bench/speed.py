"""Benchmark of the speedrun: recipes against the record training as a plain loop, on one device and set."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from pipeline import Loader
from tools.arguments import UsageError
from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.record import Images, RecordTraining
from tools.bench.sessions import noise, training
from trainer import recipe
from trainer.begin import open_session
from trainer.build import build
from trainer.config import Run
from trainer.data import Data, open_data
from trainer.hardware.device import choose_device
from trainer.inference.predict import EverySample
from trainer.models import ModelConfig, WhitenedCNN
from trainer.optimizers.muon import Muon
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.schedules import Linear
from trainer.selection.proxy import Proxy
from trainer.warmup import warm_up
from trainer.watch import Silent

CASES = ("cifar10", "cifar10-selected", "cifar10-96-proxy")
_RECIPES = dict(zip(CASES, ("cifar10_speed", "cifar10_speed", "cifar10_speed96"), strict=True))
_SELECTED: dict[str, dict[str, Any]] = {
    "rs2": {"sampler": "rs2", "budget": 0.9},
    "proxy": {
        "budget": 0.75,
        "scoring": "train",
        "selection": {"name": "proxy", "ratio": 4 / 3, "width": 0.25},
    },
}
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

    selected: Literal["rs2", "proxy"] = "rs2"
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

    # --- What is compared --------------------------------------------------------------------------------

    def _run(self, case: str, **entries: Any) -> Run:
        """Return a case's recipe at this bench's size."""
        table = recipe.to_table(recipe.load(_RECIPES[case]))
        table.update(device=self.device, compile=self.compile, **entries)
        if self.threads is not None:
            table["threads"] = self.threads
        if self.data_dir is not None:
            table["data_dir"] = str(self.data_dir)
        if self.epochs is not None:
            table["epochs"] = self.epochs
        run = recipe.from_table(table, where="bench")
        if self._size is not None:
            run = _resized(run, self._size)
        selection = run.selection
        if isinstance(selection, Proxy) and selection.model is not None:
            own = _narrowed(selection.network_of(run.model), self._factor)
            widths = ",".join(map(str, own.widths))
            selection = replace(
                selection, model=re.sub(r"widths=[\d,]+", f"widths={widths}", selection.model)
            )
        return replace(run, model=_narrowed(run.model, self._factor), selection=selection)

    def _ours(self, case: str, **entries: Any) -> Run:
        selected = _SELECTED[self.selected] if case == "cifar10-selected" else {}
        return self._run(case, **{**selected, **entries})

    def _without(self, **entries: Any) -> Run:
        """Return cifar10_speed96 without its proxy: all samples of as many steps."""
        run = self._run("cifar10-96-proxy", selection="all", budget=1.0, **entries)
        optimizer: Any = run.optimizer
        rates = {name: 2 * getattr(optimizer, name) for name in ("lr", "norm_bias_lr")}
        return replace(run, batch_size=2 * run.batch_size, optimizer=replace(optimizer, **rates))

    @property
    def _small(self) -> bool:
        return not self.full and choose_device(self.device, World()).type == "cpu"

    @property
    def _factor(self) -> float:
        return self.width if self.width is not None else _NARROW if self._small else 1.0

    @property
    def _size(self) -> int | None:
        return self.batch_size if self.batch_size is not None else _SMALL if self._small else None

    # --- Step times --------------------------------------------------------------------------------------

    def _timed(self, case: str, folder: Path, clock: Clock) -> list[measure.Row]:
        folder.mkdir()
        device = choose_device(self.device, World())
        ours = self._ours(case)
        works, totals = [], []
        runs = [ours] if case != "cifar10-96-proxy" else [ours, self._without()]
        # The plain loop crops all images at an epoch's beginning: a measurement is one epoch.
        samples = self.steps * ours.batch_size if len(runs) == 1 else max(_SAMPLES, 8 * ours.batch_size)
        data = noise(folder, samples=samples, pixels=32)
        for number, run in enumerate(runs):
            works.append(self._session_steps(run, data, folder / f"{number}", device))
            totals.append(_steps(run))
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
            totals.append(_steps(self._run("cifar10")))
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
            lambda seed: _train(self._ours(case, seed=seed), folder / f"ours-{seed}")
        ]
        if case == "cifar10-96-proxy":
            peer = "without the proxy"
            sides.append(lambda seed: _train(self._without(seed=seed), folder / f"without-{seed}"))
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
        run, device = self._run("cifar10"), choose_device(self.device, World())
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


def _steps(run: Run) -> int:
    """Return the number of steps of a run on CIFAR-10's 50,000 images."""
    return round(run.epochs * run.budget * 50_000) // run.batch_size


def _resized(run: Run, batch_size: int) -> Run:
    """Return a run in other batches, whose rates are those of the script: for sums of losses."""
    factor, optimizer = batch_size / run.batch_size, run.optimizer
    names = ("rest_lr" if isinstance(optimizer, Muon) else "lr", "norm_bias_lr", "weight_decay")
    scaled: Any = {name: factor * getattr(optimizer, name) for name in names}
    made: Any = replace(optimizer, **scaled)  # type: ignore[type-var]
    run = replace(run, batch_size=batch_size, optimizer=made)
    if isinstance(run.schedule, Linear):
        run = replace(run, schedule=Linear(final=1 / _steps(run)))
    return run


def _narrowed(part: ModelConfig, factor: float) -> WhitenedCNN:
    assert isinstance(part, WhitenedCNN)
    first, second, third = (max(1, round(factor * width)) for width in part.widths)
    return replace(part, widths=(first, second, third))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
