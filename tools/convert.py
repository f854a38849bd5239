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

from pipeline.conversion.convert import ConvertOptions, convert, skipped_path, validation_path
from pipeline.conversion.journal import journal_path
from pipeline.errors import CorruptSampleError, DataError, one_line
from pipeline.formats import FORMATS, card_path, open_dataset
from pipeline.pillow import MOST_PIXELS
from pipeline.sources import data_directory, open_source
from pipeline.sources.renumbered import Renumbered

_MOST_NAMED = 100
_MOST_DIGITS = 20


@dataclass(frozen=True)
class Convert:
    """Convert images to a data set that trains fast, with a card: classes, counts, sizes, mean, std, digest.

    SOURCE is one of these:

      cifar10, cifar100, svhn, fashion_mnist, imagenette, food101, places365, imagenet, mini_imagenet
                            in the data directory, as torchvision lays them out (mini_imagenet: its CSVs)
      FOLDER                of images: CLASS/IMAGE, or SPLIT/CLASS/IMAGE with train, test or val as SPLIT
      FILE.npz              NumPy arrays images and labels, or train_images and train_labels
      FILE.parquet          as on the Hugging Face hub; also a folder, or a pattern: 'data/train-*.parquet'
      FILE.tar              WebDataset shards; also a folder, or a pattern: 'train-{000..099}.tar'
      MODULE:NAME           a Python object with __len__ and __getitem__ that gives (image, label), or a
                            function that makes one; the module is found from the current folder

    Images may be gray, RGBA (laid over white), CMYK, 16 bits or palettes, and turned by EXIF: RGB comes out.

    A conversion that was killed or interrupted goes on where it was when the same command is given again, and
    ends with the same bytes. Until it is done nothing stands under the name OUT. Afterwards `trainer inspect
    OUT` shows what is in the data set, and `trainer verify OUT` checks it.
    """

    source: tyro.conf.Positional[str]
    """What to convert; see above."""

    out: tyro.conf.Positional[Path]
    """The data set to write; its ending says the format: .beton (one file, FFCV's) or .wds (a folder of tar
    shards, for WebDataset and DALI)."""

    split: str | None = None
    """Part of the source: train, test, or val (svhn also has extra, places365 challenge). By default train; a
    folder whose splits have other names (Training, seg_train) must be told."""

    encoding: Literal["auto", "raw", "jpeg", "proportion"] = "auto"
    """auto: raw where the longer side is at most 64 pixels once resized (judged by 256 images), else jpeg.
    proportion: a random share as JPEG, the rest raw."""

    jpeg_share: float = 0.5
    """Of proportion: each image's chance to be stored as JPEG."""

    quality: int = 90
    """JPEG quality, 1 to 100. JPEG files that need no resizing are stored as they are."""

    reencode: bool = False
    """Encode those as well, at the quality given."""

    max_resolution: int | None = None
    """Cap on the longer side in pixels; larger images are scaled down, antialiased."""

    square: int | None = None
    """Resize the shorter side to this and cut the centre square, so that all images share one shape."""

    levels: str = ""
    """Further sizes to hold every image at, as 96,224: sides of the square with --square, else shorter sides.
    Training at low resolutions then reads and decodes less."""

    validation: float = 0.0
    """Share of every class to set apart in a second data set, OUT-validation."""

    seed: int = 0
    """Of the choice of the validation set, and of the JPEGs of proportion."""

    skip_corrupt: bool = False
    """Leave out images that can't be decoded, and list them here and in a file beside OUT (.skipped.txt);
    without it the first one stops the conversion."""

    max_pixels: int = MOST_PIXELS
    """Pixels of the largest image that is decoded; files that state more are taken for damaged."""

    workers: int | None = None
    """Threads; one per core by default. The data set is the same with any number."""

    classes_of: Path | None = None
    """A converted data set whose classes these are: they are numbered as there, as a test set's must be as
    those of the training set."""

    data_dir: Path | None = None
    """Where named sources have their files; by default the environment's BUDGETRAIN_DATA, else data."""

    download: bool = False
    """Download a named source's files where they aren't in the data directory (cifar10, cifar100, svhn and
    fashion_mnist)."""

    overwrite: bool = False
    """Replace OUT; the old one stays until the new one is whole."""

    def execute(self, console: Console) -> int:
        """Convert, showing progress; see `pipeline.conversion.convert.convert` for the errors."""
        options = ConvertOptions(
            encoding=None if self.encoding == "auto" else self.encoding,
            jpeg_share=self.jpeg_share,
            quality=self.quality,
            reencode=self.reencode,
            max_resolution=self.max_resolution,
            square=self.square,
            levels=read_levels(self.levels),
            validation=self.validation,
            seed=self.seed,
            skip_corrupt=self.skip_corrupt,
            max_pixels=self.max_pixels,
            workers=self.workers,
            overwrite=self.overwrite,
        )
        # Also a folder's ending is looked at: converting into one that happens to be there is a slip.
        if self.out.suffix.removeprefix(".") not in FORMATS:
            endings = " or ".join(f".{name}" for name in FORMATS)
            raise DataError(f"OUT must end in {endings}; got {str(self.out)!r}: name one such as train.beton")
        data_dir = self.data_dir or data_directory()
        source = open_source(self.source, split=self.split, data_dir=data_dir, download=self.download)
        if self.classes_of is not None:
            source = Renumbered(source, open_dataset(self.classes_of).card.classes, str(self.classes_of))

        def say(note: str) -> None:
            console.print(
                f"note: {one_line(note)}", style="yellow", markup=False, highlight=False, soft_wrap=True
            )

        for note in source.notes:
            say(note)
        with image_progress(console) as progress:
            task = progress.add_task(f"{source.name} ({source.split})", total=len(source))
            try:
                card = convert(
                    source, self.out, options, lambda done, total: progress.update(task, completed=done), say
                )
            except (KeyboardInterrupt, CorruptSampleError):
                if journal_path(self.out).exists():
                    console.print("what is done so far is kept: the same command goes on from here")
                raise
        for path in [self.out, *([validation_path(self.out)] if self.validation else [])]:
            if skipped_path(path).exists():
                say_skipped(console, path)
            files = [path] if path.is_file() else list(path.iterdir())
            size = sum(file.stat().st_size for file in files) / 1e6
            console.print(
                f"{path} ({size:,.1f} MB), described by {card_path(path)}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        console.print(
            f"{card.samples:,} images in {len(card.classes):,} classes, {card.encoding}", highlight=False
        )
        return 0


def read_levels(text: str) -> tuple[int, ...]:
    """Read sizes between commas, and put them in ascending order.

    Raises
    ------
    DataError
        When one is no whole number.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isdecimal() and len(word) < _MOST_DIGITS for word in words):
        raise DataError(f"levels must be whole numbers between commas, as in 96,224; got {text}")
    return tuple(sorted(int(word) for word in words))


def say_skipped(console: Console, path: Path) -> None:
    """Name the images that were left out of ``path``, or the first hundred of them."""
    listed = skipped_path(path)
    lines = listed.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for line in lines[:_MOST_NAMED]:
        name, _, fault = line.partition("\t")
        console.print(
            f"left out: {name}: {fault}", style="yellow", highlight=False, markup=False, soft_wrap=True
        )
    console.print(
        f"corrupt images left out: {len(lines):,}, listed in {listed}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def image_progress(console: Console) -> Progress:
    """Make a progress bar that shows images done, images per second and the time left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )


class _Rate(ProgressColumn):
    """Images per second: of late while it runs, over all once it is done."""

    def render(self, task: Task) -> Text:
        speed = task.completed / task.finished_time if task.finished_time else task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
