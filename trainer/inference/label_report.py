"""How good a multi-label classifier is on a labeled set: average precision, F1, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.inference.average_precision import average_precision
from trainer.inference.class_report import BINS, calibration_table, ratio


class LabelTally:
    """Answers and targets of a labeled set, kept until the report is made: 5 bytes per image and label.

    Parameters
    ----------
    labels
        Names of the labels.
    known
        bool[C], the labels that the set has; others are left out of all means.
    threshold
        Probability from which on an image counts as having a label.
    """

    def __init__(self, labels: Sequence[str], known: NDArray[np.bool_], threshold: float) -> None:
        self._labels, self._known, self._threshold = tuple(labels), known, threshold
        self._logits: list[Tensor] = []
        self._present: list[Tensor] = []

    def add(self, answers: Tensor, targets: Tensor) -> None:
        """Count images.

        Parameters
        ----------
        answers
            float32[n, C], logits of the labels' probabilities.
        targets
            uint8[n, C], 1 for each label that an image has.
        """
        self._logits.append(answers.float().cpu())
        self._present.append(targets.cpu())

    def report(self) -> LabelReport:
        """Return what was counted."""
        logits = torch.cat(self._logits).double()
        present = torch.cat(self._present).bool()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, present.double(), reduction="none"
        )
        p, there = logits.sigmoid().numpy(), present.numpy()
        taken = p >= self._threshold
        bins = np.clip(np.ceil(p[:, self._known] * BINS).astype(np.int64) - 1, 0, BINS - 1).ravel()
        rows = [np.ones(bins.shape), p[:, self._known].ravel(), there[:, self._known].ravel()]
        return LabelReport(
            labels=self._labels,
            known=self._known,
            threshold=self._threshold,
            images=len(p),
            average_precision=np.array([average_precision(*pair) for pair in zip(p.T, there.T, strict=True)]),
            hits=(taken & there).sum(axis=0),
            taken=taken.sum(axis=0),
            support=there.sum(axis=0),
            exact=float((taken == there)[:, self._known].all(axis=1).mean()),
            loss=float(losses.numpy()[:, self._known].mean()),
            bins=np.stack([np.bincount(bins, row, minlength=BINS) for row in rows]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelReport:
    """Right and wrong answers of a multi-label classifier on a labeled set.

    Attributes
    ----------
    labels
        Their names.
    known
        bool[C], the labels that the set has; others are left out of all means.
    threshold
        Probability from which on an image counts as having a label.
    images
        Images in all.
    average_precision
        float64[C], see `trainer.inference.average_precision`; NaN for labels of no image.
    hits, taken, support
        int64[C], images that have a label and were taken to have it; those taken to have it; those that have.
    exact
        Part of the images all of whose labels are right.
    loss
        Mean binary cross-entropy over images and labels, in nats.
    bins
        float64[3, 15]: pairs of image and label whose probability lies in ((i - 1) / 15, i / 15], the sum of
        these probabilities, and how many of the images have the label.
    """

    labels: tuple[str, ...]
    known: NDArray[np.bool_]
    threshold: float
    images: int
    average_precision: NDArray[np.float64]
    hits: NDArray[np.int64]
    taken: NDArray[np.int64]
    support: NDArray[np.int64]
    exact: float
    loss: float
    bins: NDArray[np.float64]

    @property
    def mean_average_precision(self) -> float:
        """Mean over the labels that some image has, as a run's evaluation has it; NaN without any."""
        return _mean(self.average_precision[self.support > 0])

    @property
    def precision(self) -> NDArray[np.float64]:
        """Part of the images taken to have each label that have it; NaN where none was taken to."""
        return ratio(self.hits, self.taken)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Part of the images with each label that are taken to have it; NaN for labels of no image."""
        return ratio(self.hits, self.support)

    @property
    def f1(self) -> NDArray[np.float64]:
        """2 TP / (2 TP + FP + FN), of precision and recall; NaN for labels that don't occur."""
        return ratio(2 * self.hits, self.taken + self.support)

    @property
    def macro_f1(self) -> float:
        """Mean of F1 over the labels that occur, among the images or the answers."""
        f1 = self.f1[self.known]
        return _mean(f1[np.isfinite(f1)])

    @property
    def micro_f1(self) -> float:
        """F1 of all pairs of image and label together."""
        hits, taken, support = (int(x[self.known].sum()) for x in (self.hits, self.taken, self.support))
        return 2 * hits / (taken + support) if taken + support else float("nan")

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the labels' probabilities: mean distance from their frequencies."""
        counts, probability, present = self.bins
        return float(np.abs(present - probability).sum() / max(1.0, counts.sum()))

    def summary(self) -> dict[str, float]:
        """Return the figures for the whole set, by name."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "micro_f1": self.micro_f1,
            "macro_f1": self.macro_f1,
            "exact_match": self.exact,
            "loss": self.loss,
            "expected_calibration_error": self.calibration_error,
        }

    def table(self) -> dict[str, Any]:
        """Return everything, for JSON; what isn't defined is null there."""
        columns = {
            "average_precision": self.average_precision,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
        }
        return {
            "images": self.images,
            "threshold": self.threshold,
            **self.summary(),
            "labels": [
                {
                    "label": name,
                    "images": int(self.support[label]),
                    "predicted": int(self.taken[label]),
                    **{key: float(values[label]) for key, values in columns.items()},
                }
                for label, name in enumerate(self.labels)
                if self.known[label]
            ],
            "calibration": calibration_table(self.bins, "probability", "frequency"),
        }


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
