"""``trainer evaluate``: measures a finished run's network on labeled images."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import one_line
from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.ops.memory import place
from tools.convert import image_progress
from tools.outputs import check_output
from tools.reporting.wording import NONE
from tools.streams import say
from trainer.inference.class_report import ClassReport, Tally
from trainer.inference.labeled import Labeled, match_labels, open_images
from trainer.inference.trained import Trained, open_trained

SCHEMA = 1
_MOST_LISTED = 40
_MOST_COLUMNS = 12
_MOST_PAIRS = 10
_LABELS = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "balanced_accuracy": "mean accuracy over classes",
    "macro_f1": "F1, mean over classes",
    "loss": "loss",
    "expected_calibration_error": "calibration error",
}


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's network on labeled images: accuracy, F1 per class, confusions, calibration.

      trainer evaluate runs/photos data/photos/test.beton
      trainer evaluate runs/photos new-photos/ --json report.json --csv classes.csv

    Images are shown as in the run's own evaluation; those that aren't converted are converted in memory, as
    the run's test set was. Classes are matched by their names. The network is that of the last step, with
    averaged weights where the run has them, as the run reports it.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """A converted data set, the name of a set in the data directory, a folder CLASS/IMAGE, or an archive, as
    `trainer convert` reads them."""

    split: str | None = None
    """Split of a source that isn't converted; by default test, else val, else all of it."""

    best: bool = False
    """Use the checkpoint of the best evaluation, where the run has --keep-best, not the last one."""

    tta: tuple[Literal["flip", "crops"], ...] = ()
    """Test-time augmentation: average the probabilities over the image and its mirror image (flip), and over
    a crop of the middle and of each corner (crops). The run's own figures are without."""

    json: Path | None = None
    """File to write everything to: figures, classes, confusion matrix, calibration."""

    csv: Path | None = None
    """File to write a row per class to, with its row of the confusion matrix."""

    data_dir: Path | None = None
    """Where named sets live; by default where the run looked for its own."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def execute(self, console: Console) -> int:
        """Evaluate, print and write.

        Raises
        ------
        RunError
            When the folder holds no network of classes, or the set other classes.
        DataError
            When the set can't be read.
        """
        for option, path, example in (
            ("--json", self.json, "report.json"),
            ("--csv", self.csv, "classes.csv"),
        ):
            if path is not None:
                check_output(option, path, example)
        trained = open_trained(self.run, self.device, best=self.best)
        images = open_images(self.data, self.split, self.data_dir or trained.run.data_dir)
        labeled = match_labels(images, self.data, trained.description.classes)
        for note in (*trained.notes, *labeled.notes):
            say(f"note: {one_line(note)}")
        report = self._measure(trained, labeled)
        heading = f"{self.run}, step {trained.steps:,}, on {self.data}: {report.images:,} images"
        if self.tta:
            heading += f", test-time augmentation {' and '.join(self.tta)}"
        console.print(one_line(heading), highlight=False, soft_wrap=True)
        for table in (figures(report), classes(report), confusions(report)):
            if table is not None:
                console.print(table)
        if self.json is not None:
            about = {"run": str(self.run), "step": trained.steps, "data": self.data, "tta": list(self.tta)}
            write_whole(
                self.json, (dumps({"schema": SCHEMA, **about, **report.table()}, indent=1) + "\n").encode()
            )
        if self.csv is not None:
            write_whole(self.csv, rows(report).encode())
        return 0

    def _measure(self, trained: Trained, labeled: Labeled) -> ClassReport:
        predictor = trained.predictor
        tally = Tally(len(trained.description.classes), predictor.device)
        crops = 5 if "crops" in self.tta else 1
        with image_progress(Console(stderr=True)) as progress:
            task = progress.add_task(f"evaluating on {self.data}", total=len(labeled.labels))
            parts = predictor.run(
                labeled.images,
                flip="flip" in self.tta,
                crops=crops,
                engine=trained.run.engine,
                note=lambda line: say(f"note: {line}"),
            )
            for part in parts:
                tally.add(part.log_p, place(labeled.labels[part.indices], predictor.device))
                progress.advance(task, len(part.indices))
        return tally.report(trained.description.classes)


def figures(report: ClassReport) -> Table:
    """Return the figures for the whole set as a table."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right", style="bold")
    for name, value in report.summary().items():
        if name != "top5_accuracy" or len(report.classes) > 5:
            table.add_row(_LABELS[name], f"{value:.4f} nats" if name == "loss" else f"{value:.2%}")
    return table


def classes(report: ClassReport) -> Table:
    """Return precision, recall and F1 of each class as a table; of many only the worst."""
    table = Table(title="classes", title_justify="left")
    for heading in ("class", "images", "precision", "recall", "F1"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    order = np.flatnonzero(report.support > 0)
    if len(order) > _MOST_LISTED:
        order = order[np.argsort(np.nan_to_num(report.f1[order]), kind="stable")[:_MOST_LISTED]]
        table.title = f"the {_MOST_LISTED} of {len(report.classes):,} classes with the lowest F1"
    for label in order:
        columns = (report.precision[label], report.recall[label], report.f1[label])
        shares = [NONE if np.isnan(share) else f"{share:.1%}" for share in columns]
        table.add_row(Text(report.classes[label]), f"{report.support[label]:,}", *shares)
    return table


def confusions(report: ClassReport) -> Table | None:
    """Return the confusion matrix as a table, or of many classes the pairs that are confused most often."""
    if len(report.classes) <= _MOST_COLUMNS:
        table = Table(title="confusion matrix (rows: true class)", title_justify="left")
        table.add_column()
        for number, name in enumerate(report.classes):
            table.add_column(Text(name if len(report.classes) <= 6 else str(number)), justify="right")
        for number, (name, row) in enumerate(zip(report.classes, report.confusion.tolist(), strict=True)):
            cells = [
                Text(f"{count:,}" if count else "·", style="bold" if column == number else "")
                for column, count in enumerate(row)
            ]
            table.add_row(Text(name if len(report.classes) <= 6 else f"{number} {name}"), *cells)
        return table
    pairs = report.confused(_MOST_PAIRS)
    if not pairs:
        return None
    table = Table(title="confused most often", title_justify="left")
    for heading in ("class", "predicted", "images", "of the class"):
        table.add_column(heading, justify="left" if heading in ("class", "predicted") else "right")
    for true, guess, count in pairs:
        share = f"{count / report.support[true]:.1%}"
        table.add_row(Text(report.classes[true]), Text(report.classes[guess]), f"{count:,}", share)
    return table


def rows(report: ClassReport) -> str:
    """Return a row per class as CSV: its figures, and how many of its images were taken for each class."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["class", "images", "precision", "recall", "f1", *(f"predicted {name}" for name in report.classes)]
    )
    for label, name in enumerate(report.classes):
        shares = (report.precision[label], report.recall[label], report.f1[label])
        cells = ["" if np.isnan(share) else f"{share:.6f}" for share in shares]
        writer.writerow([name, report.support[label], *cells, *report.confusion[label].tolist()])
    return file.getvalue()
