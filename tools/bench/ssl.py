"""Benchmark of self-supervision: scoring of views, loading of several views, and their augmentation."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline import Augmentation, Loader, open_dataset
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.ssl import Ssl
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.protocol import thread_count
from pipeline.engines.resident import ResidentEngine
from pipeline.sources import ArraySource
from pipeline.views import Views
from samplers import Order
from tools.bench.clock import Clock
from tools.bench.measure import Row, check_names, interleave, seconds
from tools.bench.photographs import photographs
from tools.bench.sessions import noise, training, warm_session
from trainer.data import Data
from trainer.selection.helpers.overhead import scoring_overhead
from trainer.session import Session

CASES = (
    "hard_augment/4",
    "hard_augment/5",
    "hard_augment/6",
    "hard_augment/8",
    "hard_augment-total/4",
    "views",
    "view-pipeline",
)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CROP = 224


@dataclass(frozen=True)
class SslBench:
    """Costs of self-supervision, against what they should be and against lightly.

    ssl/hard_augment/M is the time of scoring M views per image at 64/224 of the training resolution, as a
    fraction of a plain step of SimSiam; the peer is the arithmetic of table 3.8 (Kocyigit 2023).
    ssl/hard_augment-total/4 is all that such a step takes longer, with the making of 4 views in place of 2.
    ssl/views is the rate of images in two views of 224 px, cut from one decode of JPEGs of 500 px; the peer
    loads them twice. ssl/view-pipeline is the rate of images in two views by crop, flip, jitter, grayscale
    and blur, from memory; the peer is lightly's transform in PyTorch's DataLoader, with as many processes as
    this project has threads.
    """

    cases: tuple[str, ...] = CASES
    """Cases to measure."""

    model: str = "resnet18"
    """Network of hard_augment."""

    pixels: int = 56
    """Training resolution of hard_augment; views are scored at 2/7 of it, as at 64 of 224. At 224 px a step
    of this network is one of minutes."""

    batch_size: int = 64
    """Images per step, or per batch."""

    images: int = 256
    """Images of the other cases."""

    threads: int = 0
    """Threads, and processes of the peer; 0 for one per core."""

    repeats: int = 5
    """Measurements per case; medians are reported."""

    device: str = "auto"
    """Device of hard_augment; the other cases run on the CPU."""

    def __post_init__(self) -> None:
        check_names("cases", self.cases, CASES)

    def rows(self, clock: Clock | None = None) -> list[Row]:
        """Return the rows of the cases."""
        clock = clock or Clock()
        measured: dict[str, Callable[[str, Path, Clock], Row]] = {
            "views": self._views,
            "view-pipeline": self._pipeline,
        }
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            return [
                measured.get(case, self._hard_augment)(case, Path(scratch) / case.replace("/", "-"), clock)
                for case in clock.cases(self.cases)
                if case != "view-pipeline" or _lightly()
            ]

    # --- Hard Augment ------------------------------------------------------------------------------------

    def _hard_augment(self, case: str, folder: Path, clock: Clock) -> Row:
        m, scored = int(case.rpartition("/")[2]), max(1, round(self.pixels * 64 / 224))
        data = noise(folder, 4 * self.batch_size, self.pixels)
        selection = {"name": "hard_augment", "m": m, "pixels": scored}
        plain = self._session(data, folder / "plain", "all")
        ours = self._session(data, folder / "ours", selection)
        try:
            works = [_stepping(ours), _stepping(plain)]
            if case.startswith("hard_augment-total/"):
                mine, theirs = interleave(works, self.repeats, clock=clock)
                return Row.compare(f"ssl/{case}", mine / theirs - 1, "fraction of a plain step")
            added: list[float] = []
            whole: list[float] = []
            for work in works:
                work()
            while clock.goes_on(len(whole), self.repeats):
                before = _scoring_seconds(ours)
                works[0]()
                added.append(_scoring_seconds(ours) - before)
                whole.append(seconds(works[1]))
        finally:
            ours.close()
            plain.close()
        expected = scoring_overhead(m, scored, self.pixels)
        found = statistics.median(added) / statistics.median(whole)
        return Row.compare(f"ssl/{case}", found, "fraction of a plain step", "arithmetic", expected)

    def _session(self, data: Data, folder: Path, selection: Any) -> Session:
        return warm_session(
            data,
            folder,
            model=self.model,
            method="simsiam",
            evaluator={"name": "knn", "k": 10},
            augment=["ssl"],
            selection=selection,
            batch_size=self.batch_size,
            device=self.device,
            budget=1.0,
        )

    # --- Views -------------------------------------------------------------------------------------------

    def _views(self, case: str, folder: Path, clock: Clock) -> Row:
        crop = Augmentation([RandomResizedCrop(size=_CROP)], _MEAN, _STD)
        data = open_dataset(_set(folder, photographs(self.images, 500), "jpeg"))
        order = Order(round=0, ids=np.arange(len(data), dtype=np.int64))
        engine = FfcvEngine(threads=thread_count(self.threads))
        with Loader(data, engine=engine, batch_size=self.batch_size, device="cpu") as loader:

            def load(views: Views) -> None:
                for _ in loader.raw_batches(order, augment=views):
                    pass

            def twice() -> None:
                for _ in range(2):
                    load(Views((crop,)))

            works = [lambda: load(Views((crop, crop))), twice]
            mine, theirs = interleave(works, self.repeats, clock=clock)
        return Row.compare(
            f"ssl/{case}", len(data) / mine, "images/s", "two separate loads", len(data) / theirs
        )

    def _pipeline(self, case: str, folder: Path, clock: Clock) -> Row:
        images = photographs(self.images, _CROP)
        data = open_dataset(_set(folder, images, "raw"))
        order = Order(round=0, ids=np.arange(len(data), dtype=np.int64))
        view = Augmentation([Ssl(size=_CROP)], _MEAN, _STD)
        threads, before = thread_count(self.threads), torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with Loader(data, engine=ResidentEngine(), batch_size=self.batch_size, device="cpu") as loader:

                def ours() -> None:
                    for _ in loader.batches(order, augment=Views((view, view))):
                        pass

                batches = lightly_batches([Image.fromarray(one) for one in images], self.batch_size, threads)

                def theirs() -> None:
                    for _ in batches:
                        pass

                mine, other = interleave([ours, theirs], self.repeats, clock=clock)
        finally:
            torch.set_num_threads(before)
        return Row.compare(f"ssl/{case}", len(data) / mine, "images/s", "lightly", len(data) / other)


def lightly_batches(images: list[Image.Image], batch_size: int, processes: int) -> Any:
    """Return lightly's two views of images in memory, batch by batch, as its users load them.

    Crops, probabilities and strengths are those of `pipeline.augment.ssl.Ssl`.
    """
    from lightly.transforms.simclr_transform import SimCLRTransform

    transform = SimCLRTransform(
        input_size=_CROP, cj_bright=0.4, cj_contrast=0.4, cj_sat=0.4, cj_hue=0.1, min_scale=0.2
    )
    return torch.utils.data.DataLoader(
        _Pictures(images, transform),
        batch_size=batch_size,
        num_workers=processes,
        persistent_workers=processes > 0,
    )


class _Pictures(torch.utils.data.Dataset[Any]):
    """Images in memory, each shown to a transform."""

    def __init__(self, images: list[Image.Image], transform: Callable[[Image.Image], Any]) -> None:
        self._images = images
        self._transform = transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Any:
        return self._transform(self._images[index])


def _lightly() -> bool:
    there = importlib.util.find_spec("lightly") is not None
    if not there:
        print("lightly is not installed: the row of view-pipeline is left out (pip install lightly)")
    return there


def _set(folder: Path, images: Any, encoding: Any) -> Path:
    classes, labels = tuple(f"class {i}" for i in range(10)), np.arange(len(images)) % 10
    source = ArraySource("pictures", "train", "seeded pictures", classes, labels, images)
    path = folder / "train.beton"
    convert(source, path, ConvertOptions(encoding=encoding, quality=90))
    return path


def _stepping(session: Session) -> Callable[[], None]:
    steps: Iterator[object] = training(session)

    def work() -> None:
        next(steps)
        session.collect()

    return work


def _scoring_seconds(session: Session) -> float:
    session.ledger.settle()
    return session.ledger.seconds["score"]
