"""``trainer predict``: predicts classes, labels or values of images by a run's network."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from pipeline.engines import ENGINES
from pipeline.errors import one_line
from pipeline.formats import FORMATS, Converted, is_converted, open_dataset
from pipeline.formats.whole import PartialFile, unwritable
from pipeline.sources import SHARDED, SOURCES
from pipeline.sources.archives import COMPRESSED, ArchivedImages, is_archive
from pipeline.sources.csv_list import ENDINGS
from pipeline.sources.loose import LooseImages
from pipeline.sources.protocol import Source
from pipeline.sources.stored_images import StoredImages
from pipeline.sources.walk import Walk
from tools.answers import ANSWERS
from tools.arguments import UsageError
from tools.convert import image_progress
from tools.outputs import check_output
from tools.prediction_writers import WRITERS, Writer
from tools.streams import say
from trainer.errors import RunError
from trainer.inference.labeled import open_images
from trainer.inference.loading import load
from trainer.inference.predictor import Predictor
from trainer.inference.tasks import with_threshold

_MOST_NAMED = 100


@dataclass(frozen=True)
class Predict:
    """Predict classes, labels or values of images by a run's network or an exported one, a line per image.

      trainer predict runs/photos holiday/ 'more/**/*.jpg' one.png --out predictions.csv
      trainer predict runs/photos/export/model.safetensors data/photos/test.beton --top 5 --out top5.jsonl

    Images are converted in memory as the run's test set was, and shown as in its evaluation. Memory doesn't
    grow with their number. Images that can't be read are named, the others predicted, and the exit status is
    then 1.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder, or a .safetensors that `trainer export` wrote."""

    images: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="IMAGES [IMAGES ...]", help_behavior_hint="(required)"),
    ]
    """Image files, folders of images, patterns in quotes, data sets (converted, archives, or by name)."""

    out: Path | None = None
    """File to write: .csv, .jsonl (an object per line) or .json (an array of them). By default CSV is
    printed."""

    top: int | None = None
    """Most probable classes to write of each image; 1 by default."""

    probabilities: bool = False
    """Write the probability of every class besides; those of labels are always written."""

    threshold: float | None = None
    """Probability from which on an image counts as having a label, of networks of any number of labels; .5 by
    default."""

    best: bool = False
    """Use the checkpoint of the best evaluation, where the run has --keep-best, not the last one."""

    engine: Literal["resident", "ffcv", "dali"] | None = None
    """How converted sets are read, for speed; by default image by image, so that broken ones are left out."""

    data_dir: Path | None = None
    """Where named sets live; by default the environment variable BUDGETRAIN_DATA, else data."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def execute(self, console: Console) -> int:
        """Predict and write; the exit status is 1 where images can't be read."""
        if not self.images:
            raise UsageError("predict needs images: files, folders, patterns or data sets; got none")
        ending = ".csv" if self.out is None else self.out.suffix.lower()
        if ending not in WRITERS:
            raise UsageError(
                f"--out must end in {', '.join(WRITERS)}; got {self.out}: name one such as p.csv"
            )
        if self.out is not None:
            check_output("--out", self.out, f"predictions{ending}")
        sources = sources_of(self.images, self.data_dir, by_engine=self.engine is not None)
        predictor = load(self.run, self.device, best=self.best)
        if self.threshold is not None:
            predictor = replace(predictor, task=with_threshold(predictor.task, self.threshold))
        spec = predictor.task.spec
        writer = WRITERS[ending](ANSWERS[spec.kind](spec, self.top, self.probabilities))
        if self.out is None:
            done, broken = self._write(predictor, sources, writer, _print, None)
        else:
            with PartialFile(self.out) as partial, image_progress(Console(stderr=True)) as progress:
                task = progress.add_task("predicting", total=sum(map(len, sources)))

                def write(text: str) -> None:
                    partial.file.write(text.encode(errors="backslashreplace"))

                try:
                    done, broken = self._write(
                        predictor, sources, writer, write, lambda count: progress.advance(task, count)
                    )
                    partial.publish()
                except OSError as error:
                    raise unwritable(self.out, error) from None
            console.print(f"{done:,} images: {self.out}", highlight=False, markup=False, soft_wrap=True)
        if broken:
            say(f"trainer predict: {broken:,} of {done + broken:,} images can't be read, and are left out")
        return 1 if broken else 0

    def _write(
        self,
        predictor: Predictor,
        sources: Sequence[Source | Converted],
        writer: Writer,
        write: Callable[[str], None],
        advance: Callable[[int], None] | None,
    ) -> tuple[int, int]:
        """Write all predictions; returns how many images were predicted, and how many can't be read."""
        done = broken = 0

        def blame(index: int, fault: str) -> None:
            nonlocal broken
            broken += 1
            if broken <= _MOST_NAMED:
                say(f"left out: {one_line(fault)}")

        engine = None if self.engine is None else ENGINES[self.engine]()
        write(writer.head())
        for source in sources:
            found = predictor.predictions(
                source, engine=engine, broken=blame, note=lambda line: say(f"note: {line}")
            )
            for prediction in found:
                write(writer.line(prediction, first=done == 0))
                done += 1
                if advance is not None:
                    advance(1)
        write(writer.foot())
        return done, broken


def sources_of(
    words: Sequence[str], data_dir: Path | None, *, by_engine: bool = False
) -> list[Source | Converted]:
    """Return the images that words name; neighboring files, folders and patterns are one source.

    A file that isn't there is among them, and named when it is read.

    Parameters
    ----------
    by_engine
        Whether an engine is to read them, which only converted sets are for.

    Raises
    ------
    RunError
        When it is, and one isn't converted.
    DataError
        When a folder can't be listed or holds no images, a pattern fits nothing, or a set can't be read.
    """
    found: list[Source | Converted] = []
    loose: list[str] = []
    for word in words:
        files = _files(word, data_dir)
        images = _set(word, data_dir) if files is None else LooseImages(files)
        if by_engine and not is_converted(images):
            raise RunError(
                f"an engine reads converted data sets; {word} is none: leave --engine out, or convert it"
            )
        if files is not None:
            loose += files
            continue
        if loose:
            found.append(LooseImages(loose))
            loose = []
        found.append(StoredImages(images) if is_converted(images) and not by_engine else images)
    return [*found, LooseImages(loose)] if loose else found


def _files(word: str, data_dir: Path | None) -> list[str] | None:
    """Return the image files that a word names; None where it names a data set."""
    path = Path(word)
    if path.suffix.removeprefix(".") in FORMATS or path.suffix.lower() in (".npz", *ENDINGS, *SHARDED):
        return None
    if word.lower().endswith((".zip", *COMPRESSED)):
        return None
    if path.is_dir():
        folder = path.resolve()
        # From the folder's own parent: a walk doesn't go through the folder that it starts from.
        walk = Walk(folder.parent)
        found = walk.images(folder)
        images = [str(path / image.relative_to(folder)) for image in found]
        if not images:
            raise RunError(
                f"a folder of images to predict must hold some; {word} holds {walk.unread or 'none'}: name "
                "another, or convert them"
            )
        for line in walk.notes():
            say(f"note: {word}: {line}")
        return images
    if not path.exists() and any(sign in word for sign in "*?["):
        images = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  (a pattern may be absolute)
        if not images:
            raise RunError(f"a pattern must fit at least one image; {word} fits none")
        return images
    if not path.exists() and (word in SOURCES or (data_dir is not None and (data_dir / word).is_dir())):
        return None
    return [word]


def _set(word: str, data_dir: Path | None) -> Source | Converted:
    if Path(word).suffix.removeprefix(".") in FORMATS:
        return open_dataset(Path(word))
    if is_archive(Path(word)):
        return ArchivedImages(Path(word), kind="none", whole=True)
    return open_images(word, None, data_dir, "none")


def _print(text: str) -> None:
    sys.stdout.write(text)
