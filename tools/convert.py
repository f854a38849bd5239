"""``trainer convert``: converts images to a data set for fast loading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

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
from pipeline.sources.of_classes import OfClasses, read_class_names
from pipeline.sources.renumbered import Renumbered

_MOST_NAMED = 100
_MOST_DIGITS = 20


@dataclass(frozen=True)
class Convert:
    """Convert images to a data set for fast loading, with a card: classes, counts, sizes, mean, std, digest.

    SOURCE is one of these:

      cifar10, cifar100, svhn, fashion_mnist, imagenette, food101, places365, imagenet, mini_imagenet
                            in the data directory, as torchvision lays them out (mini_imagenet: its CSVs)
      FOLDER                of images: CLASS/IMAGE, or SPLIT/CLASS/IMAGE with train, test or val as SPLIT;
                            any images at all with --targets none; also as FILE.zip or FILE.tar, which is
                            read as it is
      FILE.csv              a row per image: its path, and its class, labels (separated by ; or a column
                            each of 0 and 1) or values; a column called split where there are several
      FILE.npz              NumPy arrays images and labels, or train_images and train_labels
      FILE.parquet          as on the Hugging Face hub; also a folder, or a pattern: 'data/train-*.parquet'
      FILE.tar              WebDataset shards; also a folder, or a pattern: 'train-{000..099}.tar'
      MODULE:NAME           a Python object with __len__ and __getitem__ that returns (image, label), or a
                            function that returns one; modules of the current folder are found

    Images may be gray, RGBA (on white), CMYK, 16-bit or palette, and rotated by EXIF: the result is RGB,
    or gray by --mode.

    A conversion that was killed or interrupted resumes when the same command is run again, with identical
    results. OUT exists only once it is complete. `trainer inspect OUT` then shows the data set's content, and
    `trainer verify OUT` checks it.
    """

    source: tyro.conf.Positional[str]
    """The source to convert; see above."""

    out: tyro.conf.Positional[Path]
    """The data set to write; its suffix selects the format: .beton (one file, FFCV's) or .wds (a folder of
    tar shards, for WebDataset and DALI)."""

    split: str | None = None
    """Split of the source: train, test, or val (svhn also has extra, places365 challenge). By default train;
    required for a folder whose splits have other names (Training, seg_train)."""

    targets: Literal["auto", "class", "multi_label", "value", "none"] = "auto"
    """Targets to learn from. class: one of several; multi_label: any number of labels,
    as lists or rows of 0 and 1; value: a number or several; both from .csv, .parquet, .npz, .tar or
    MODULE:NAME.
    none: nothing, as for images that nobody has labeled. auto: class, and for a .wds what its card states."""

    encoding: Literal["auto", "raw", "jpeg", "proportion"] = "auto"
    """auto: raw if the longer side is at most 64 pixels after resizing (judged by 256 images), else jpeg.
    proportion: a random fraction as JPEG, the rest raw."""

    # Its name in version 0.1 is read, too.
    jpeg_fraction: Annotated[float, tyro.conf.arg(aliases=["--jpeg-share"])] = 0.5
    """For proportion: each image's probability of being stored as JPEG."""

    quality: int = 90
    """JPEG quality, 1 to 100. JPEG files that need no resizing are stored as they are."""

    reencode: bool = False
    """Encode these as well, at the given quality."""

    max_resolution: int | None = None
    """Cap on the longer side in pixels; larger images are scaled down, antialiased."""

    square: int | None = None
    """Resize the shorter side to this and crop the center square, so that all images have one shape."""

    mode: Literal["RGB", "L", "I;16"] = "RGB"
    """Mode that images are stored in: RGB, also of gray ones; L: one channel of 8 bits, colors become gray;
    I;16: one channel of 16 bits, for images that have it, always raw. In quotes: --mode 'I;16'."""

    levels: str = ""
    """Additional stored sizes of every image, such as 96,224: sides of the square with --square, else shorter
    sides. Training at low resolutions then reads and decodes less."""

    validation: float = 0.0
    """Fraction of every class to hold out in a second data set, OUT-validation."""

    seed: int = 0
    """Seed of the choice of the validation set, and of the JPEGs of proportion."""

    skip_corrupt: bool = False
    """Leave out images that can't be decoded, and list them here and in a file beside OUT (.skipped.txt);
    without it the first one stops the conversion."""

    max_pixels: int = MOST_PIXELS
    """Maximum number of pixels per image; files whose header states more are considered damaged."""

    workers: int | None = None
    """Threads; one per core by default. The data set is the same with any number."""

    classes_of: Path | None = None
    """A converted data set with the same classes, whose numbering is used: a test set's must equal the
    training set's."""

    classes: tuple[str, ...] = ()
    """Keep the images of these classes alone, renumbered in their order: names, or a .txt file with one
    per line, as for ImageNet-100."""

    without_classes: tuple[str, ...] = ()
    """Leave the images of these classes out, as dog of cifar10 for CIFAR-9: names or a file likewise."""

    data_dir: Path | None = None
    """Folder of named sources' files; by default the environment variable BUDGETRAIN_DATA, else data."""

    download: bool = False
    """Download a named source's files where they aren't in the data directory (cifar10, cifar100, svhn and
    fashion_mnist)."""

    overwrite: bool = False
    """Replace OUT; the old one is kept until the new one is complete."""

    def execute(self, console: Console) -> int:
        """Convert, showing progress; see `pipeline.conversion.convert.convert` for the errors."""
        options = ConvertOptions(
            encoding=None if self.encoding == "auto" else self.encoding,
            jpeg_fraction=self.jpeg_fraction,
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
            mode=self.mode,
        )
        # The suffix of an existing folder is checked, too: converting into one is a mistake.
        if self.out.suffix.removeprefix(".") not in FORMATS:
            endings = " or ".join(f".{name}" for name in FORMATS)
            raise DataError(f"OUT must end in {endings}; got {str(self.out)!r}: name one such as train.beton")
        data_dir = self.data_dir or data_directory()
        source = open_source(
            self.source,
            split=self.split,
            data_dir=data_dir,
            download=self.download,
            targets=None if self.targets == "auto" else self.targets,
        )
        if self.classes and self.without_classes:
            raise DataError(
                "--classes and --without-classes must not be given together; got both: name those to keep"
            )
        if self.classes or self.without_classes:
            names = read_class_names(self.classes or self.without_classes)
            source = OfClasses(source, names, without=not self.classes)
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
                    console.print("the work done so far is kept: the same command resumes from here")
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
        held = f"in {card.spec.words}" if card.target == "class" else f"with {card.spec.words}"
        kept = "" if card.mode == "RGB" else f", mode {card.mode}"
        console.print(f"{card.samples:,} images {held}, {card.encoding}{kept}", highlight=False)
        return 0


def read_levels(text: str) -> tuple[int, ...]:
    """Parse sizes separated by commas, and return them in ascending order.

    Raises
    ------
    DataError
        If one isn't a whole number.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isdecimal() and len(word) < _MOST_DIGITS for word in words):
        raise DataError(f"levels must be whole numbers between commas, as in 96,224; got {text}")
    return tuple(sorted(int(word) for word in words))


def say_skipped(console: Console, path: Path) -> None:
    """Print the images that were left out of ``path``, or the first hundred of them."""
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
    """Return a progress bar with images done, images per second and remaining time."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )


class _Rate(ProgressColumn):
    """Images per second: recent while it runs, overall when it is done."""

    def render(self, task: Task) -> Text:
        speed = task.completed / task.finished_time if task.finished_time else task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
