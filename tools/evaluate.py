"""``trainer evaluate``: measures a finished run's network on labeled images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from pipeline.engines import ENGINES, EngineConfig
from pipeline.errors import one_line
from pipeline.formats import is_converted
from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.ops.memory import place
from pipeline.text import csv_text
from tools.answers import ANSWERS
from tools.convert import image_progress
from tools.linear import evaluate_linearly
from tools.outputs import check_output
from tools.streams import say
from trainer.errors import RunError
from trainer.inference.exhibits import Exhibits
from trainer.inference.labeled import Labeled, match_targets, open_images
from trainer.inference.predictor import Predictor
from trainer.inference.tasks import Report, with_threshold
from trainer.inference.trained import open_trained
from trainer.linear import LinearOptions

SCHEMA = 1

MOST_EXHIBITS = 24
"""Images on a page."""

READING = (
    "Images are shown as in the run's own evaluation; figures are those of the network's last step, with "
    "averaged weights where the run has them, unless --best was given.",
)
"""Notes on every page."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's network on labeled images.

      trainer evaluate runs/photos data/photos/test.beton
      trainer evaluate runs/photos new-photos/ --json report.json --csv classes.csv --html evaluation.html
      trainer evaluate runs/features --linear

    Of classes: accuracy, F1 per class, confusions, calibration. Of any number of labels: average precision
    and F1 per label, calibration. Of values: mean absolute and root mean squared error, R2.

    Images are shown as in the run's own evaluation; those that aren't converted are converted in memory, as
    the run's test set was. Classes are matched by their names. The network is that of the last step, with
    averaged weights where the run has them, as the run reports it.

    Features of a run without labels are measured by --linear: a linear classifier is trained on the frozen
    network with the run's training set and LARS, and measured on its test set, as a run in RUN/linear.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""

    data: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """A converted data set, the name of a set in the data directory, a folder CLASS/IMAGE, or an archive, as
    `trainer convert` reads them; none with --linear."""

    linear: bool = False
    """Train a linear classifier on the run's frozen features, and measure that."""

    linear_epochs: float = 90
    """Epochs of --linear."""

    linear_batch_size: int | None = None
    """Images per step of --linear; by default 2,048, or an eighth of the training set where that is less."""

    linear_lr: float | None = None
    """Learning rate of --linear; by default .1 per 256 images of a step."""

    split: str | None = None
    """Split of a source that isn't converted; by default test, else val, else all of it."""

    best: bool = False
    """Use the checkpoint of the best evaluation, where the run has --keep-best, not the last one."""

    tta: tuple[Literal["flip", "crops"], ...] = ()
    """Test-time augmentation: average the probabilities over the image and its mirror image (flip), and over
    a crop of the middle and of each corner (crops). The run's own figures are without."""

    threshold: float | None = None
    """Probability from which on an image counts as having a label, of networks of any number of labels; .5 by
    default."""

    engine: Literal["resident", "ffcv", "dali"] | None = None
    """How a converted set is read; by default as in the run."""

    json: Path | None = None
    """File to write everything to: figures, classes, confusion matrix, calibration."""

    html: Path | None = None
    """Page to write: figures, a table to sort, confusions, calibration, and the images that are answered most
    wrongly. It loads nothing, and can be sent as it is."""

    csv: Path | None = None
    """File to write a row per class, label or value to, of classes with its row of the confusion matrix."""

    data_dir: Path | None = None
    """Where named sets live; by default where the run looked for its own."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def execute(self, console: Console) -> int:
        """Evaluate, print and write.

        Raises
        ------
        RunError
            When the folder holds no network, or the set other targets than it was trained on.
        DataError
            When the set can't be read.
        """
        for option, path, example in (
            ("--json", self.json, "report.json"),
            ("--csv", self.csv, "classes.csv"),
            ("--html", self.html, "evaluation.html"),
        ):
            if path is not None:
                check_output(option, path, example)
        if self.linear:
            return self._linear(console)
        if self.data is None:
            raise RunError(
                f"images to measure {self.run} on must be named after it, a data set or a folder; got none: "
                "for features of a run without labels give --linear"
            )
        trained = open_trained(self.run, self.device, best=self.best)
        predictor = trained.predictor
        if self.threshold is not None:
            predictor = replace(predictor, task=with_threshold(predictor.task, self.threshold))
        kind = predictor.task.spec.kind
        images = open_images(self.data, self.split, self.data_dir or trained.run.data_dir, kind)
        if self.engine is not None and not is_converted(images):
            raise RunError(
                f"an engine reads converted data sets; {self.data} is none: leave --engine out, or convert it"
            )
        labeled = match_targets(images, self.data, predictor.task)
        for note in (*trained.notes, *labeled.notes):
            say(f"note: {one_line(note)}")
        engine = trained.run.engine if self.engine is None else ENGINES[self.engine]()
        exhibits = Exhibits(MOST_EXHIBITS) if self.html is not None else None
        report = self._measure(predictor, labeled, engine, exhibits)
        heading = f"{self.run}, step {trained.steps:,}, on {self.data}: {report.images:,} images"
        if self.tta:
            heading += f", test-time augmentation {' and '.join(self.tta)}"
        console.print(one_line(heading), highlight=False, soft_wrap=True)
        answers = ANSWERS[kind](predictor.task.spec)
        for table in answers.tables(report):
            console.print(table)
        if self.json is not None:
            about = {"run": str(self.run), "step": trained.steps, "data": self.data, "tta": list(self.tta)}
            write_whole(
                self.json, (dumps({"schema": SCHEMA, **about, **report.table()}, indent=1) + "\n").encode()
            )
        if self.csv is not None:
            write_whole(self.csv, csv_text(answers.rows(report)).encode())
        if self.html is not None and exhibits is not None:
            # Imported here: only pages are drawn.
            from tools.evaluating.page import page

            notes = (*READING, *labeled.notes)
            text = page(predictor.task.spec, report, exhibits.worst(), labeled.images, heading, notes)
            write_whole(self.html, text.encode(errors="backslashreplace"))
            console.print(f"page: {self.html}", highlight=False, markup=False, soft_wrap=True)
        return 0

    def _linear(self, console: Console) -> int:
        beside = ("data", "split", "tta", "threshold", "engine", "json", "html", "csv")
        given = [name for name in beside if getattr(self, name)]
        if given:
            raise RunError(
                f"--linear trains and measures on the run's own sets, with its figures in {self.run}/linear; "
                f"got {' and '.join(given)}: leave it out"
            )
        options = LinearOptions(self.linear_epochs, self.linear_batch_size, self.linear_lr)
        return evaluate_linearly(
            self.run, options, console, best=self.best, device=self.device, data_dir=self.data_dir
        )

    def _measure(
        self, predictor: Predictor, labeled: Labeled, engine: EngineConfig, exhibits: Exhibits | None
    ) -> Report:
        found = labeled.targets
        tally = predictor.task.tally(found.known, predictor.device)
        crops = 5 if "crops" in self.tta else 1
        with image_progress(Console(stderr=True)) as progress:
            task = progress.add_task(f"evaluating on {self.data}", total=len(found.targets))
            parts = predictor.run(
                labeled.images,
                flip="flip" in self.tta,
                crops=crops,
                engine=engine,
                note=lambda line: say(f"note: {line}"),
            )
            for part in parts:
                targets = place(found.targets[part.indices], predictor.device)
                tally.add(part.answers, targets)
                if exhibits is not None:
                    wrongness = predictor.task.wrongness(part.answers, targets, found.known)
                    exhibits.add(part.indices, wrongness, part.answers, targets)
                progress.advance(task, len(part.indices))
        return tally.report()
