"""How good a classifier is on a labeled set: accuracies, F1, confusions and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
"""Intervals of confidence that the calibration error is summed over, as Guo et al. (2017) have them."""
TOP = 5

Counts = NDArray[np.int64]


class ClassTally:
    """Sums over a labeled set, kept on the device until the report is made.

    Parameters
    ----------
    classes
        Names of the classes.
    """

    def __init__(self, classes: Sequence[str], device: torch.device) -> None:
        self._names = tuple(classes)
        self._classes = len(self._names)
        self._confusion = torch.zeros(len(classes) ** 2, dtype=torch.int64, device=device)
        self._top = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._bins = torch.zeros(3, BINS, dtype=torch.float64, device=device)

    def add(self, answers: Tensor, targets: Tensor) -> None:
        """Count images.

        Parameters
        ----------
        answers
            float32[n, classes], logarithms of their classes' probabilities.
        targets
            int64[n], their true classes.
        """
        log_p, labels = answers, targets
        guesses = log_p.argmax(dim=1)
        ones = torch.ones_like(labels)
        self._confusion.index_add_(0, labels * self._classes + guesses, ones)
        likely = log_p.topk(min(TOP, self._classes), dim=1).indices
        self._top += (likely == labels[:, None]).sum()
        self._loss -= log_p.gather(1, labels[:, None]).sum(dtype=torch.float64)
        confidence = log_p.gather(1, guesses[:, None])[:, 0].exp().double()
        # Intervals are open on the left: a confidence of exactly 1 is in the last one.
        bins = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        rows = torch.stack([torch.ones_like(confidence), confidence, (guesses == labels).double()])
        self._bins.index_add_(1, bins, rows)

    def report(self) -> ClassReport:
        """Return what was counted; waits for the device."""
        confusion = self._confusion.view(self._classes, self._classes).cpu().numpy()
        images = max(1, int(confusion.sum()))
        return ClassReport(
            classes=self._names,
            confusion=confusion,
            top5=int(self._top) / images,
            loss=float(self._loss) / images,
            bins=self._bins.cpu().numpy(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ClassReport:
    """Right and wrong answers of a classifier on a labeled set.

    Attributes
    ----------
    classes
        Their names.
    confusion
        int64[classes, classes], images of the class of the row that were taken for that of the column.
    top5
        Part of the images whose class is among the five most probable, or among all where they are fewer.
    loss
        Mean cross-entropy, in nats.
    bins
        float64[3, 15]: images whose confidence (probability of the most probable class) lies in
        ((i - 1) / 15, i / 15], the sum of their confidences, and how many of them are right.
    """

    classes: tuple[str, ...]
    confusion: Counts
    top5: float
    loss: float
    bins: NDArray[np.float64]

    @property
    def images(self) -> int:
        """Images in all."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Top-1, in [0, 1]."""
        return float(np.trace(self.confusion) / max(1, self.images))

    @property
    def support(self) -> Counts:
        """int64[classes], images of each class."""
        counts: Counts = self.confusion.sum(axis=1)
        return counts

    @property
    def precision(self) -> NDArray[np.float64]:
        """Part of the images taken for each class that are of it; NaN where none was taken for it."""
        return ratio(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Part of each class's images that are taken for it; NaN for classes without images."""
        return ratio(np.diag(self.confusion), self.support)

    @property
    def f1(self) -> NDArray[np.float64]:
        """2 TP / (2 TP + FP + FN), of precision and recall; NaN for classes that don't occur."""
        return ratio(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.support)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur, among the images or the predictions."""
        f1 = self.f1
        return float(f1[np.isfinite(f1)].mean()) if np.isfinite(f1).any() else 0.0

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall over the classes that have images."""
        recall = self.recall
        return float(recall[np.isfinite(recall)].mean()) if np.isfinite(recall).any() else 0.0

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of accuracy and confidence (Guo et al. 2017)."""
        counts, confidence, right = self.bins
        return float(np.abs(right - confidence).sum() / max(1.0, counts.sum()))

    def confused(self, most: int) -> list[tuple[int, int, int]]:
        """Return up to ``most`` pairs that are confused most often: true class, predicted class, images."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        rows, columns = np.unravel_index(order, wrong.shape)
        pairs = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]
        return [(row, column, int(wrong[row, column])) for row, column in pairs if wrong[row, column]]

    def summary(self) -> dict[str, float]:
        """Return the figures for the whole set, by name."""
        return {
            "accuracy": self.accuracy,
            "top5_accuracy": self.top5,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "expected_calibration_error": self.calibration_error,
        }

    def table(self) -> dict[str, Any]:
        """Return everything, for JSON; what isn't defined is null there."""
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {
            "images": self.images,
            **self.summary(),
            "classes": [
                {
                    "class": name,
                    "images": int(self.support[label]),
                    **{key: float(values[label]) for key, values in columns.items()},
                }
                for label, name in enumerate(self.classes)
            ],
            "confusion": self.confusion.tolist(),
            "calibration": calibration_table(self.bins, "confidence", "accuracy"),
        }


def calibration_table(bins: NDArray[np.float64], stated: str, found: str) -> list[dict[str, Any]]:
    """Return the rows of a reliability diagram, for JSON.

    Parameters
    ----------
    bins
        float64[3, 15]: counts, sums of what was stated, sums of what was found.
    stated, found
        Names of the two.
    """
    counts, claimed, right = bins
    return [
        {
            f"{stated}_up_to": (at + 1) / BINS,
            "images": int(counts[at]),
            stated: float(ratio(claimed, counts)[at]),
            found: float(ratio(right, counts)[at]),
        }
        for at in range(BINS)
    ]


def ratio(parts: NDArray[Any], wholes: NDArray[Any]) -> NDArray[np.float64]:
    """Return quotients, with NaN where there is nothing to divide by."""
    quotients = np.full(len(parts), np.nan)
    np.divide(parts, wholes, out=quotients, where=wholes > 0)
    return quotients
