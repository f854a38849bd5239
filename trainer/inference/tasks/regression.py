"""Values: one or several numbers per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.targets import TargetSpec
from trainer.errors import RunError
from trainer.inference.prediction import Prediction
from trainer.inference.tasks.protocol import Matched, unlike
from trainer.inference.value_report import ValueTally


@dataclass(frozen=True, slots=True)
class ValueTask:
    """Regression: answers are the values themselves, in the units of the training set."""

    spec: TargetSpec

    @property
    def words(self) -> str:
        """The answers in words: see `Task`."""
        return self.spec.words

    def answers(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean over views: see `Task`."""
        return outputs[0] if len(outputs) == 1 else torch.stack(list(outputs)).mean(dim=0)

    def predictions(self, names: Sequence[str], answers: Tensor) -> Iterator[Prediction]:
        """Yield the values of each image: see `Task`."""
        for name, row in zip(names, answers.tolist(), strict=True):
            yield Prediction(name, values=tuple(row))

    def match(self, spec: TargetSpec, targets: NDArray[Any], name: str) -> Matched:
        """Return the values as they are: see `Task`.

        Raises
        ------
        RunError
            When the set has targets of another kind, or another number of values per image.
        """
        refused = unlike(spec, self.spec, name)
        if refused is not None:
            raise RunError(refused)
        if spec.columns != self.spec.columns:
            raise RunError(
                f"a set to evaluate on must have as many values per image as the network answers with, "
                f"{self.spec.columns or 1}; {name} has {spec.columns or 1}: name another"
            )
        return Matched(targets, np.ones(self.spec.columns or 1, np.bool_))

    def wrongness(self, answers: Tensor, targets: Tensor, known: NDArray[np.bool_]) -> Tensor:
        """Return the error, of several values its Euclidean norm: see `Task`."""
        errors: Tensor = answers - targets.reshape(answers.shape)
        return errors.square().sum(dim=1).sqrt()

    def tally(self, known: NDArray[np.bool_], device: torch.device) -> ValueTally:
        """Return the empty tally: see `Task`."""
        return ValueTally(self.spec.columns or 1, device)
