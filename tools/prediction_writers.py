"""Predictions as text: CSV, JSON lines, or one JSON array; written image by image."""

from __future__ import annotations

from pipeline.formats.strict_json import dumps
from pipeline.text import csv_text
from tools.answers import Answers
from trainer.inference.prediction import Prediction


class CsvWriter:
    """A row per image: its name, then what the network answers."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def head(self) -> str:
        """Return the names of the columns."""
        return csv_text([["image", *self._answers.columns]])

    def line(self, prediction: Prediction, first: bool) -> str:
        """Return an image's row."""
        return csv_text([[prediction.image, *self._answers.cells(prediction)]])

    def foot(self) -> str:
        """Return nothing."""
        return ""


class JsonLinesWriter:
    """An object per image, each a line."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

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
        return dumps({"image": prediction.image, **self._answers.entry(prediction)})


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
