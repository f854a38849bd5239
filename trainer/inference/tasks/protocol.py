"""Protocols of tasks: what a network's outputs answer, and how good the answers are on labeled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.sources.class_names import listed
from pipeline.targets import TargetSpec
from trainer.inference.prediction import Prediction


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Targets of a labeled set, arranged as a network's outputs.

    Attributes
    ----------
    targets
        As `TargetSpec` has them for the network's kind: of classes int64[n], of labels uint8[n, C], of values
        float32[n] or float32[n, columns].
    known
        bool[C], which classes, labels or values the set has at all.
    notes
        What a person should know of it, a line each.
    """

    targets: NDArray[Any]
    known: NDArray[np.bool_]
    notes: tuple[str, ...] = ()


class Report(Protocol):
    """Figures of a network on a labeled set."""

    @property
    def images(self) -> int:
        """Images in all."""

    def summary(self) -> dict[str, float]:
        """Return the figures for the whole set, by name; NaN where one isn't defined."""

    def table(self) -> dict[str, Any]:
        """Return everything, for JSON; what isn't defined is null there."""


class Tally(Protocol):
    """Sums over a labeled set."""

    def add(self, answers: Tensor, targets: Tensor) -> None:
        """Count images, by their answers [n, C] and targets on one device."""

    def report(self) -> Report:
        """Return what was counted; waits for the device."""


class Task(Protocol):
    """Meaning of a network's outputs, one per class, label or value."""

    @property
    def spec(self) -> TargetSpec:
        """Specification of the targets that it was trained on."""

    @property
    def words(self) -> str:
        """The answers in words, as in "3 classes: cat, dog, fox"."""

    def answers(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the answers [n, C] of a network's outputs, the mean over several views of the images.

        Parameters
        ----------
        outputs
            float[n, C] of each view.
        """

    def predictions(self, names: Sequence[str], answers: Tensor) -> Iterator[Prediction]:
        """Yield the prediction of each image."""

    def match(self, spec: TargetSpec, targets: NDArray[Any], name: str) -> Matched:
        """Return the targets of a set in the order of the outputs.

        Raises
        ------
        RunError
            When they are of another kind, or the network doesn't know them; the line names those.
        """

    def wrongness(self, answers: Tensor, targets: Tensor, known: NDArray[np.bool_]) -> Tensor:
        """Return how wrong each answer is, float[n]: 0 where it is right, and larger the more certain it was.

        Parameters
        ----------
        answers, targets
            Of n images, on one device.
        known
            See `Matched`.
        """

    def tally(self, known: NDArray[np.bool_], device: torch.device) -> Tally:
        """Return the empty tally of a set with the classes, labels or values that are ``known``."""


class TaskFactory(Protocol):
    """A task's class."""

    def __call__(self, spec: TargetSpec) -> Task:
        """Return the task of a network that was trained on such targets."""


def unlike(spec: TargetSpec, needed: TargetSpec, name: str) -> str | None:
    """Return the line that refuses a set of targets of another kind; None for one of the same."""
    if spec.kind == needed.kind:
        return None
    return (
        f"a set to evaluate on must have targets of kind {needed.kind} ({needed.words}); those of {name} are "
        f"of kind {spec.kind}: `trainer predict` needs none"
    )


def names_of(spec: TargetSpec, most: int = 4) -> str:
    """Return the first names of a spec's classes."""
    return ", ".join(spec.classes[:most]) + (", ..." if len(spec.classes) > most else "")


def lacking(known: NDArray[np.bool_], spec: TargetSpec, name: str) -> tuple[str, ...]:
    """Return the note on classes or labels of the network that a set has no images of, if there are any."""
    without = [repr(one) for one, there in zip(spec.classes, known, strict=True) if not there]
    if not without:
        return ()
    what = "classes" if spec.kind == "class" else "labels"
    return (
        f"{name} has no images of {len(without):,} of the {len(spec.classes):,} {what}: {listed(without)}",
    )
