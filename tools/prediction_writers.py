"""Predictions as text: CSV, JSON lines, or one JSON array; written image by image."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from pipeline.formats.strict_json import dumps
from trainer.inference.predictor import Prediction


class CsvWriter:
    """A row per image: its name, its most probable classes, and all probabilities where asked for."""

    def __init__(self, classes: Sequence[str], top: int, every: bool) -> None:
        self._classes, self._top, self._every = tuple(classes), top, every

    def head(self) -> str:
        """Return the names of the columns."""
        ranks = ["", *(f"_{rank}" for rank in range(2, self._top + 1))]
        names = [name + rank for rank in ranks for name in ("class", "probability")]
        every = [f"p {name}" for name in self._classes] if self._every else []
        return self._row(["image", *names, *every])

    def line(self, prediction: Prediction, first: bool) -> str:
        """Return an image's row."""
        likely = zip(prediction.classes[: self._top], prediction.probabilities, strict=False)
        cells = [cell for name, p in likely for cell in (name, f"{p:.6g}")]
        by_name = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        every = [f"{by_name[name]:.6g}" for name in self._classes] if self._every else []
        return self._row([prediction.image, *cells, *every])

    def foot(self) -> str:
        """Return nothing."""
        return ""

    @staticmethod
    def _row(cells: Sequence[str]) -> str:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerow(cells)
        return file.getvalue()


class JsonLinesWriter:
    """An object per image, each a line."""

    def __init__(self, classes: Sequence[str], top: int, every: bool) -> None:
        self._classes, self._top, self._every = tuple(classes), top, every

    def head(self) -> str:
        """Return nothing."""
        return ""

    def line(self, prediction: Prediction, first: bool) -> str:
        """Return an image's line."""
        return self._object(prediction) + "\n"

    def foot(self) -> str:
        """Return nothing."""
        return ""

    def _object(self, prediction: Prediction) -> str:
        likely = zip(prediction.classes[: self._top], prediction.probabilities, strict=False)
        entry: dict[str, object] = {
            "image": prediction.image,
            "predictions": [{"class": name, "probability": p} for name, p in likely],
        }
        if self._every:
            by_name = dict(zip(prediction.classes, prediction.probabilities, strict=True))
            entry["probabilities"] = {name: by_name[name] for name in self._classes}
        return dumps(entry)


class JsonWriter(JsonLinesWriter):
    """An array of an object per image."""

    def head(self) -> str:
        """Open the array."""
        return "["

    def line(self, prediction: Prediction, first: bool) -> str:
        """Return an image's object, after what separates it from the one before."""
        return ("\n" if first else ",\n") + self._object(prediction)

    def foot(self) -> str:
        """Close the array."""
        return "\n]\n"


Writer = CsvWriter | JsonLinesWriter
WRITERS: dict[str, type[CsvWriter] | type[JsonLinesWriter]] = {
    ".csv": CsvWriter,
    ".json": JsonWriter,
    ".jsonl": JsonLinesWriter,
}
"""By the ending of the file."""
