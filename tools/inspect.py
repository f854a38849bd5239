"""``trainer inspect``: shows a data set's card and sample images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.conversion.convert import skipped_path
from pipeline.errors import UnwritableError
from pipeline.formats import Card, open_dataset
from pipeline.formats.sheet import contact_sheet
from pipeline.targets import LABEL
from tools.outputs import check_output

_MOST_LISTED = 40
_BAR = 30


@dataclass(frozen=True)
class Inspect:
    """Show a data set's card, and draw a sheet with a few images of each class or label."""

    file: tyro.conf.Positional[Path]
    """A converted data set."""

    sheet: Path | None = None
    """The PNG to write; by default beside the file: train.beton -> train.beton.sheet.png."""

    def execute(self, console: Console) -> int:
        """Print and draw; see `pipeline.formats.open_dataset` and `contact_sheet` for the errors."""
        if self.sheet is not None:
            check_output("--sheet", self.sheet, "sheet.png")
        data = open_dataset(self.file)
        console.print(card_table(data.card, self.file))
        if data.card.classes:
            console.print(class_table(data.card))
        elif LABEL in data.targets:
            console.print(value_table(data.targets[LABEL]))
        sheet = self.sheet or _sheet_path(self.file)
        try:
            contact_sheet(data, sheet)
        except UnwritableError:
            if self.sheet is not None:
                raise
            # The card can be shown even if no file can be written.
            place = sheet.absolute().parent
            line = f"note: no sheet is drawn, as {place} isn't writable: name a file for it by --sheet"
            console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
            return 0
        console.print(f"sample images: {sheet}", highlight=False, markup=False, soft_wrap=True)
        return 0


def card_table(card: Card, file: Path) -> Table:
    """Return a card, except for its classes, as a table of names and values."""
    table = Table(title=Text(str(file)), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    height, width = _range(card.min_height, card.max_height), _range(card.min_width, card.max_width)
    encoding = card.encoding if card.quality is None else f"{card.encoding}, quality {card.quality}"
    if card.jpeg_share is not None:
        encoding += f", {card.jpeg_share:.1%} JPEG at random, the rest raw"
    rows = {
        "name": f"{card.name} ({card.split})",
        "images": f"{card.samples:,}",
        **({"classes": f"{len(card.classes):,}"} if card.target == "class" else {"targets": card.spec.words}),
        "height x width": f"{height} x {width} pixels, "
        + (f"{card.channels} channels" if card.mode == "RGB" else f"mode {card.mode}"),
        "encoding": encoding,
        "mean": " ".join(f"{value:.4f}" for value in card.mean),
        "std": " ".join(f"{value:.4f}" for value in card.std),
        "source": card.source,
    }
    if card.max_resolution is not None:
        rows["resized"] = f"longer side at most {card.max_resolution} pixels"
    if card.square is not None:
        rows["resized"] = f"center square of {card.square} pixels"
    if card.levels:
        sides = "squares of" if card.square is not None else "shorter side at most"
        rows["levels"] = f"also at {sides} {', '.join(str(level) for level in card.levels)} pixels"
    if card.skipped:
        rows["corrupt, left out"] = f"{card.skipped:,}, listed in {skipped_path(file).name}"
    if card.held_out is not None:
        fraction, seed = card.held_out.fraction, card.held_out.seed
        rows["split off"] = f"{card.held_out.part} part; {fraction:.1%} for validation, seed {seed}"
    rows["digest"] = "not known" if card.digest is None else f"sha256 {card.digest}"
    rows["created by"] = card.created_by or "not known"
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _sheet_path(file: Path) -> Path:
    """Return the path of a set's sheet: beside it, also if the set is given as "."."""
    file = file if file.name not in ("", "..") else file.resolve()
    return file.with_name(f"{file.name}.sheet.png")


def class_table(card: Card) -> Table:
    """Return the classes or labels with their counts as bars; of many only the largest and the smallest."""
    word = "classes" if card.target == "class" else "labels"
    table = Table(title=word, title_justify="left", show_header=False)
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="cyan")
    order = list(range(len(card.classes)))
    if len(order) > _MOST_LISTED:
        order.sort(key=lambda label: -card.class_counts[label])
        table.title = f"{word}: the {_MOST_LISTED // 2} largest and the {_MOST_LISTED // 2} smallest"
        order = order[: _MOST_LISTED // 2] + order[-_MOST_LISTED // 2 :]
    most = max(1, *card.class_counts)
    for label in order:
        count = card.class_counts[label]
        table.add_row(str(label), Text(card.classes[label]), f"{count:,}", "━" * round(_BAR * count / most))
    return table


def value_table(values: NDArray[np.float32]) -> Table:
    """Set the range of values, float32[n] or float32[n, columns]; of many columns the first ones."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    table = Table(title="values", title_justify="left")
    for title in ("column", "least", "median", "mean", "largest"):
        table.add_column(title, justify="right")
    if columns.shape[1] > _MOST_LISTED:
        table.title = f"values: the first {_MOST_LISTED} of {columns.shape[1]:,} columns"
    for number, column in enumerate(columns.T[:_MOST_LISTED]):
        figures = (column.min(), np.median(column), column.mean(), column.max())
        table.add_row(str(number), *(f"{figure:.6g}" for figure in figures))
    return table


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"
