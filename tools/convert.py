"""``trainer convert``: images to a data set that trains fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline.convert import ConvertOptions, convert, validation_path
from pipeline.formats import card_path
from pipeline.sources import data_directory, open_source


@dataclass(frozen=True)
class Convert:
    """Convert images to one .beton file with a card beside it: classes, counts, shapes, mean, std, digest.

    An image folder holds SOURCE/CLASS/IMAGE, or SOURCE/SPLIT/CLASS/IMAGE with train, test or val as SPLIT.

    A killed conversion leaves nothing under the file's name; the same command starts it over. Afterwards
    `trainer inspect OUT` shows what is in the file, and `trainer verify OUT` checks it.
    """

    source: tyro.conf.Positional[str]
    """An image folder, or cifar10, cifar100, fashion_mnist or svhn with its files in the data directory."""

    out: tyro.conf.Positional[Path]
    """The file to write, ending in .beton."""

    split: str = "train"
    """Part of the source: train, test, or val (svhn also has extra)."""

    encoding: Literal["auto", "raw", "jpeg"] = "auto"
    """auto: raw where the longer side is at most 64 pixels once resized (judged by 256 images), else jpeg."""

    quality: int = 90
    """JPEG quality, 1 to 100. JPEG files that need no resizing are stored as they are."""

    reencode: bool = False
    """Encode those as well, at the quality given."""

    max_resolution: int | None = None
    """Cap on the longer side in pixels; larger images are scaled down, antialiased."""

    square: int | None = None
    """Resize the shorter side to this and cut the centre square, so that all images share one shape."""

    validation: float = 0.0
    """Share of every class to set apart in a second file, OUT-validation.beton."""

    seed: int = 0
    """Of the choice of the validation set."""

    workers: int | None = None
    """Threads; one a core by default. The file is the same with any number."""

    data_dir: Path | None = None
    """Where named sources have their files; by default the environment's BUDGETRAIN_DATA, else data."""

    download: bool = False
    """Download a named source's files where they aren't in the data directory."""

    overwrite: bool = False
    """Replace OUT; the old file stays until the new one is whole."""

    def execute(self, console: Console) -> int:
        """Convert, showing progress; see `pipeline.convert.convert` for the errors."""
        options = ConvertOptions(
            encoding=None if self.encoding == "auto" else self.encoding,
            quality=self.quality,
            reencode=self.reencode,
            max_resolution=self.max_resolution,
            square=self.square,
            validation=self.validation,
            seed=self.seed,
            workers=self.workers,
            overwrite=self.overwrite,
        )
        data_dir = self.data_dir or data_directory()
        source = open_source(self.source, split=self.split, data_dir=data_dir, download=self.download)
        for note in source.notes:
            console.print(f"note: {note}", style="yellow", markup=False, highlight=False)
        with image_progress(console) as progress:
            task = progress.add_task(f"{source.name} ({source.split})", total=len(source))
            card = convert(
                source, self.out, options, lambda done, total: progress.update(task, completed=done)
            )
        written = [self.out, *([validation_path(self.out)] if self.validation else [])]
        for path in written:
            size = path.stat().st_size / 1e6
            console.print(
                f"{path} ({size:,.1f} MB), described by {card_path(path)}", highlight=False, markup=False
            )
        console.print(
            f"{card.samples:,} images in {len(card.classes):,} classes, {card.encoding}", highlight=False
        )
        return 0


def image_progress(console: Console) -> Progress:
    """Make a progress bar that shows images done, images a second and the time left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )


class _Rate(ProgressColumn):
    """Images a second: of late while it runs, over all once it is done."""

    def render(self, task: Task) -> Text:
        speed = task.completed / task.finished_time if task.finished_time else task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
