"""Labels: any number per image, each a yes or a no of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from pipeline.sources.class_names import listed, tidied
from pipeline.targets import TargetSpec
from trainer.errors import RunError
from trainer.inference.label_report import LabelTally
from trainer.inference.prediction import Prediction
from trainer.inference.tasks.protocol import Matched, lacking, names_of, unlike

THRESHOLD = 0.5
"""Probability from which on an image counts as having a label, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class LabelTask:
    """Any number of labels: answers are logits, whose sigmoids are the labels' probabilities.

    Attributes
    ----------
    threshold
        Probability from which on an image counts as having a label, in [0, 1].
    """

    spec: TargetSpec
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise RunError(f"threshold must be a probability, from 0 to 1; got {self.threshold:g}")

    @property
    def words(self) -> str:
        """The answers in words: see `Task`."""
        return f"{len(self.spec.classes):,} labels: {names_of(self.spec)}"

    def answers(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the logits of the mean probabilities over views: see `Task`."""
        if len(outputs) == 1:
            return outputs[0]
        views = torch.stack(list(outputs))
        return logsigmoid(views).logsumexp(dim=0) - logsigmoid(-views).logsumexp(dim=0)

    def predictions(self, names: Sequence[str], answers: Tensor) -> Iterator[Prediction]:
        """Yield the labels of each image, the most probable first: see `Task`."""
        p, order = answers.sigmoid().sort(dim=1, descending=True)
        for name, row, ranks in zip(names, p.tolist(), order.tolist(), strict=True):
            classes = tuple(self.spec.classes[label] for label in ranks)
            has = sum(probability >= self.threshold for probability in row)
            yield Prediction(name, classes, tuple(row), labels=classes[:has])

    def match(self, spec: TargetSpec, targets: NDArray[Any], name: str) -> Matched:
        """Return rows of labels in the network's order, by their names: see `Task`.

        Raises
        ------
        RunError
            When the set has targets of another kind, or images with a label that the network doesn't know.
        """
        refused = unlike(spec, self.spec, name)
        if refused is not None:
            raise RunError(refused)
        known = [tidied(one) for one in self.spec.classes]
        own = {tidied(one): column for column, one in enumerate(spec.classes)}
        if len(own) < len(spec.classes) or len(set(known)) < len(known):
            raise RunError(
                f"labels must have names of their own to be matched by; several of {name} or of the network "
                "have one name: rename them"
            )
        unknown = [
            one
            for column, one in enumerate(spec.classes)
            if tidied(one) not in known and targets[:, column].any()
        ]
        if unknown:
            raise RunError(
                f"labels of a set to evaluate on must be among the network's; {name} has {len(unknown):,} "
                f"that are not: {listed([repr(one) for one in unknown])}, and the network knows "
                f"{listed([repr(one) for one in self.spec.classes])}: take them from its rows, or rename them"
            )
        rows = np.zeros((len(targets), len(known)), np.uint8)
        for column, label in enumerate(known):
            if label in own:
                rows[:, column] = targets[:, own[label]]
        has = np.array([label in own for label in known])
        return Matched(rows, has, lacking(np.asarray(rows.any(axis=0)), self.spec, name))

    def wrongness(self, answers: Tensor, targets: Tensor, known: NDArray[np.bool_]) -> Tensor:
        """Return the largest distance of a wrong label's probability from what is true: see `Task`."""
        p = answers.sigmoid()
        wrong = ((p >= self.threshold) != targets.bool()) & torch.from_numpy(known).to(p.device)
        return ((p - targets.float()).abs() * wrong).amax(dim=1)

    def tally(self, known: NDArray[np.bool_], device: torch.device) -> LabelTally:
        """Return the empty tally, which leaves out labels that the set doesn't have: see `Task`."""
        return LabelTally(self.spec.classes, known, self.threshold)
