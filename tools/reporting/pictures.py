"""The easiest and the hardest image of each class, from the runs' data sets if these are available."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import DataError
from pipeline.formats import Converted, open_dataset
from pipeline.modes import shown
from tools.reporting.lineup import Entry, Lineup
from tools.reporting.markup import Child, Safe, el, table
from tools.reporting.record import RunRecord, Samples
from tools.reporting.wording import count, listed
from trainer import recipe
from trainer.data import paths
from trainer.errors import RunError

MOST_CLASSES = 12
"""Maximum columns; with more classes, those with the highest mean weight."""

MOST_RUNS = 8
"""Maximum rows of each table."""

SIDE = 64
"""Longer side in pixels to which larger images are scaled down."""


@dataclass(frozen=True, slots=True)
class _Shown:
    label: str
    samples: Samples
    weight: NDArray[np.float64]
    data: Converted


def extremes(lineup: Lineup, what: str = "sample weight") -> list[Safe] | None:
    """Return the easiest and hardest image of each class, one row per run; None without sample weights.

    The sample of lowest and of highest weight, as the sample-importance paper's figures 18 and 19 show them.
    ``what`` is what a weight is called.
    """
    weighted = [entry for entry in lineup if _weight(entry.run.samples) is not None]
    if not weighted:
        return None
    shown: list[_Shown] = []
    missing: dict[str, list[str]] = {}
    for entry in weighted:
        found = _show(entry)
        if isinstance(found, str):
            missing.setdefault(found, []).append(entry.label)
        elif len(shown) < MOST_RUNS and (not shown or _alike(found, shown[0])):
            shown.append(found)
    notes = [
        el("p", f"No pictures of {listed(labels)}: {reason}.", class_="note")
        for reason, labels in missing.items()
    ]
    left = len(weighted) - len(shown) - sum(map(len, missing.values()))
    if left:
        notes.append(el("p", f"{left} further runs have no row here.", class_="note"))
    if not shown:
        return notes
    return [_table(shown, what, hardest=False), _table(shown, what, hardest=True), *notes]


def _weight(samples: Samples | None) -> NDArray[np.float64] | None:
    if samples is None or samples.weight is None or not np.isfinite(samples.weight).any():
        return None
    return samples.weight


def _alike(one: _Shown, other: _Shown) -> bool:
    return one.samples.classes == other.samples.classes


def _show(entry: Entry) -> _Shown | str:
    """A run's samples with their data set, or the reason why there are no pictures."""
    samples, weight = entry.run.samples, _weight(entry.run.samples)
    assert samples is not None
    assert weight is not None
    try:
        data = _open(entry.run)
        labels = data.labels
    except (RunError, DataError) as error:
        return str(error)
    stored = np.arange(len(weight)) if samples.image is None else samples.image
    if len(stored) and (stored.max() >= len(data) or (labels[stored] != samples.label).any()):
        return f"{data.path} holds other samples than the run was trained on"
    return _Shown(entry.label, samples, weight, data)


def _open(run: RunRecord) -> Converted:
    """Open a run's training set.

    Raises
    ------
    RunError, DataError
        When it isn't there, can't be read, or isn't the one that the run was trained on.
    """
    path: Path
    path, _ = paths(recipe.from_table(run.recipe, where=str(run.path / "run.toml")))
    if not path.exists():
        raise RunError(f"its data set is not at {path}")
    data = open_dataset(path)
    digests = run.environment.get("data_sha256")
    digest = digests.get("train") if isinstance(digests, dict) else None
    if digest is not None and digest != data.card.digest:
        raise RunError(f"{path} has changed since the run was trained")
    return data


def _table(shown: list[_Shown], what: str, *, hardest: bool) -> Safe:
    first = shown[0]
    labels = np.unique(first.samples.label[np.isfinite(first.weight)])
    which = (
        f"of {count(float(len(labels)))} classes those with the highest mean {what}, "
        if len(labels) > MOST_CLASSES
        else ""
    )
    labels = np.sort(sorted(labels, key=lambda label: -_mean(first, label))[:MOST_CLASSES])
    rows: list[list[Child]] = []
    for one in shown:
        rows.append([one.label if len(shown) > 1 else "", *(_cell(one, label, hardest) for label in labels)])
    said = "Hardest image" if hardest else "Easiest image"
    caption = (
        f"{said} of each class, {which}by the {'highest' if hardest else 'lowest'} {what}, which stands below"
    )
    head = ["", *(first.samples.class_name(int(label)) for label in labels)]
    return table(head, rows, caption, class_="pictures")


def _mean(one: _Shown, label: int) -> float:
    return float(np.nanmean(one.weight[one.samples.label == label]))


def _cell(one: _Shown, label: int, hardest: bool) -> Child:
    ids = np.flatnonzero((one.samples.label == label) & np.isfinite(one.weight))
    if not len(ids):
        return ""
    weights = one.weight[ids]
    chosen = int(ids[weights.argmax() if hardest else weights.argmin()])
    stored = chosen if one.samples.image is None else int(one.samples.image[chosen])
    try:
        picture, name = _png(shown(one.data.image(stored))), one.data.name(stored)
    except DataError:
        return "damaged"
    copy = "" if one.samples.copy is None else f", copy {int(one.samples.copy[chosen]) + 1}"
    said = f"{one.samples.class_name(label)}, {name}{copy}, weight {one.weight[chosen]:.3f}"
    return [el("img", src=picture, alt=said, title=said), f"{one.weight[chosen]:.3f}"]


def _png(pixels: NDArray[np.uint8]) -> str:
    """Return the image as a data URL."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
