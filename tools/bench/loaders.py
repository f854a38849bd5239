"""Benchmark of loading: this project's engines against FFCV, DALI, PyTorch's DataLoader and webdataset."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline import ENGINES, open_dataset
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines.protocol import thread_count
from pipeline.formats import Converted, Sample, StoredImage, WebDatasetFormat
from pipeline.sources import ArraySource
from tools.arguments import UsageError
from tools.bench.clock import Clock
from tools.bench.loader_sides import Work
from tools.bench.loader_worker import Report, Worker, WorkerError
from tools.bench.measure import Row, check_names
from tools.bench.photographs import photographs
from tools.bench.sessions import noise

PEERS = {
    "ffcv-loader": "ffcv",
    "dali": "nvidia.dali",
    "dataloader-pil": "torchvision",
    "webdataset": "webdataset",
}
"""Every peer, and the module that it requires."""

_SHARD = 1 << 23
_GROWTH_ROUNDS = 50
_SETTLED = 10
_RAW_EPOCHS = 4


@dataclass(frozen=True)
class LoadersBench:
    """Rate, CPU time and memory of every engine and format, against other loaders."""

    data: Path | None = None
    """A .beton file of JPEGs to measure; by default one is made of 500 px images that cost a decoder about as
    much as photographs, and another of raw 32 px images."""

    pixels: tuple[int, ...] = (224, 64)
    """Sizes of the random resized crops of JPEGs; none to skip JPEGs."""

    engines: tuple[str, ...] = tuple(ENGINES)
    """This project's engines to measure."""

    peers: tuple[str, ...] = tuple(PEERS)
    """Peers to compare with."""

    formats: tuple[str, ...] = ("beton", "wds")
    """Formats read by this project's engines."""

    images: int = 256
    """Number of JPEG images to make."""

    raw_images: int = 50_000
    """Number of raw 32 px images to make; 0 for none."""

    threads: int = 0
    """Threads or processes per side; 0 for one per core."""

    repeats: int = 5
    """Measurements per case; medians are reported."""

    growth: bool = False
    """Also measure how much memory grows from round 10 to round 50, at the last of the sizes: takes some
    minutes."""

    def __post_init__(self) -> None:
        known = {"engines": tuple(ENGINES), "peers": tuple(PEERS), "formats": ("beton", "wds")}
        for name, choices in known.items():
            check_names(name, getattr(self, name), choices)

    def rows(self, clock: Clock | None = None) -> list[Row]:
        """Return one row per case and peer, with all sides of a case interleaved.

        ``load/SET-PIXELS/ENGINE`` is the rate of random resized crops, ``load/raw32/ENGINE`` that of whole
        raw images, in batches of 64 and 512; ``.../wds`` from tar shards instead of a ``.beton`` file.
        ``cpu/...`` is CPU time, ``memory/...`` the peak memory of the side's processes, ``growth/...`` its
        increase between round 10 and round 50. Each side is a separate process with the same number of
        threads, and reads files that are in the operating system's page cache.
        """
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            return list(self._rows(Path(scratch), clock or Clock()))

    def _rows(self, folder: Path, clock: Clock) -> Iterator[Row]:
        works: dict[str, tuple[Work, Path | None]] = {}
        threads = thread_count(self.threads)
        if self.pixels:
            path = self.data or _pictures(folder / "jpeg500.beton", self.images)
            data = open_dataset(path)
            if not data.compressed.all():
                raise UsageError(f"data must hold JPEGs, so that all can read it; {path} holds raw images")
            files, shards = folder / "files", folder / "shards.wds"
            _spread(data, files, shards)
            for pixels in self.pixels:
                work = Work("ours", "", str(path), str(files), pixels, 64, threads)
                works[f"{path.stem}-{pixels}"] = work, shards
        if self.raw_images and self.data is None:
            noise(folder / "raw32", self.raw_images, 32)
            work = Work("ours", "", str(folder / "raw32" / "train.beton"), "", 0, 512, threads)
            works["raw32"] = work, None
        growth = {}
        if self.growth and "beton" in self.formats:
            for name, (work, shards_or_none) in works.items():
                if work.pixels == (self.pixels[-1] if shards_or_none is not None else 0):
                    for engine in self._engines(shards_or_none):
                        growth[f"growth/{name}/{engine}"] = replace(work, engine=engine)
        for case in clock.cases([*works, *growth]):
            if case in growth:
                yield Row.compare(case, _growth(growth[case]), "MB")
            else:
                yield from self._case(case, *works[case], clock)

    def _case(self, name: str, work: Work, shards: Path | None, clock: Clock) -> Iterator[Row]:
        """Measure all sides on one data set and size."""
        sides = {(engine, ""): replace(work, engine=engine) for engine in self._engines(shards)}
        if shards is not None and "wds" in self.formats:
            sides |= {key: replace(one, data=str(shards)) for key, one in _with_format(sides)}
        if "beton" not in self.formats:
            sides = {key: one for key, one in sides.items() if key[1]}
        ours = dict(sides)
        for peer in (
            self.peers if shards is not None else [peer for peer in self.peers if peer == "ffcv-loader"]
        ):
            if _installed(peer):
                reads = str(shards) if peer in ("dali", "webdataset") else work.data
                sides[peer, "peer"] = replace(work, side=peer, data=reads)
        reports = self._measure(sides, 1 if shards is not None else _RAW_EPOCHS, clock)
        for key in ours:
            case = "/".join([name, *filter(None, key)])
            theirs = {other[0]: report for other, report in reports.items() if other[1] == "peer"}
            yield from _compare(case, reports[key], theirs)

    def _engines(self, shards: Path | None) -> tuple[str, ...]:
        # DALI doesn't read raw images.
        return tuple(name for name in self.engines if shards is not None or name != "dali")

    def _measure(
        self, sides: dict[tuple[str, str], Work], epochs: int, clock: Clock
    ) -> dict[tuple[str, str], Report]:
        """Return medians of every side, interleaved: A B C A B C ... ."""
        reports: dict[tuple[str, str], list[Report]] = {key: [] for key in sides}
        with ExitStack() as stack:
            workers = {key: stack.enter_context(Worker(work)) for key, work in sides.items()}
            for key, worker in workers.items():
                try:
                    worker.run(epochs)
                except WorkerError as error:
                    raise UsageError(f"{key[0]} can't be measured: {error}") from None
            done = 0
            while clock.goes_on(done, self.repeats):
                done += 1
                for key, worker in workers.items():
                    reports[key].append(worker.run(epochs))
        return {key: _median(some) for key, some in reports.items()}


def _with_format(sides: dict[tuple[str, str], Work]) -> Iterator[tuple[tuple[str, str], Work]]:
    for (engine, _), work in sides.items():
        yield (engine, "wds"), work


def _compare(case: str, ours: Report, peers: dict[str, Report]) -> Iterator[Row]:
    """Yield rows of one engine against every peer, or alone if there is none."""
    for kind, unit in (("load", "images/s"), ("cpu", "ms/image"), ("memory", "MB")):
        mine = _figure(ours, kind)
        if not peers:
            yield Row.compare(f"{kind}/{case}", mine, unit)
        for peer, report in peers.items():
            yield Row.compare(f"{kind}/{case}", mine, unit, peer, _figure(report, kind))


def _figure(report: Report, kind: str) -> float:
    if kind == "load":
        return report.images / report.seconds
    return report.cpu / report.images * 1e3 if kind == "cpu" else report.peak / 1e6


def _median(reports: list[Report]) -> Report:
    return Report(
        reports[0].images,
        statistics.median(report.seconds for report in reports),
        statistics.median(report.cpu for report in reports),
        max(report.peak for report in reports),
        reports[-1].memory,
    )


def _growth(work: Work) -> float:
    with Worker(work) as worker:
        early = worker.run(_SETTLED)
        return (worker.run(_GROWTH_ROUNDS - _SETTLED).memory - early.memory) / 1e6


def _installed(peer: str) -> bool:
    module = PEERS[peer]
    if importlib.util.find_spec(module.partition(".")[0]) is not None:
        return True
    print(f"{module} is not installed: the rows of {peer} are left out")
    return False


def _pictures(path: Path, count: int) -> Path:
    labels = np.arange(count) % 10
    classes = tuple(f"class {i}" for i in range(10))
    source = ArraySource("pictures", "train", "seeded pictures", classes, labels, photographs(count, 500))
    convert(source, path, ConvertOptions(encoding="jpeg", quality=90))
    return path


def _spread(data: Converted, files: Path, shards: Path) -> None:
    """Write the same JPEGs as files in one folder per class, and as several tar shards of 8 MB."""
    with WebDatasetFormat(shard_size=_SHARD).create(shards, len(data)) as writer:
        for index in range(len(data)):
            content, label = data.encoded(index), int(data.labels[index])
            folder = files / f"{label:06}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:09}.jpg").write_bytes(content)
            full = StoredImage.of(content, int(data.heights[index]), int(data.widths[index]))
            writer.append(Sample([full], True, label, data.name(index)))
        writer.publish(writer.finish(data.card))
