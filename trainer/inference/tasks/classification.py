"""Classes: one of several per image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.sources.class_names import listed, tidied
from pipeline.targets import TargetSpec
from trainer.errors import RunError
from trainer.inference.class_report import ClassTally
from trainer.inference.prediction import Prediction
from trainer.inference.tasks.protocol import Matched, lacking, names_of, unlike


@dataclass(frozen=True, slots=True)
class ClassTask:
    """One of several classes: answers are logarithms of their probabilities, which sum to 1."""

    spec: TargetSpec

    @property
    def words(self) -> str:
        """The answers in words: see `Task`."""
        return f"{len(self.spec.classes):,} classes: {names_of(self.spec)}"

    def answers(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the logarithms of the mean probabilities over views: see `Task`."""
        each = [view.log_softmax(dim=1) for view in outputs]
        if len(each) == 1:
            return each[0]
        return torch.stack(each).logsumexp(dim=0) - float(np.log(len(each)))

    def predictions(self, names: Sequence[str], answers: Tensor) -> Iterator[Prediction]:
        """Yield the classes of each image, the most probable first: see `Task`."""
        p, order = answers.exp().sort(dim=1, descending=True)
        for name, row, ranks in zip(names, p.tolist(), order.tolist(), strict=True):
            yield Prediction(name, tuple(self.spec.classes[label] for label in ranks), tuple(row))

    def match(self, spec: TargetSpec, targets: NDArray[Any], name: str) -> Matched:
        """Return labels numbered as the network's classes, by their names: see `Task`.

        Raises
        ------
        RunError
            When the set has no classes, or images of one that the network doesn't know.
        """
        refused = unlike(spec, self.spec, name)
        if refused is not None:
            raise RunError(refused)
        classes, own = self.spec.classes, spec.classes
        known = [tidied(one) for one in classes]
        numbers = {one: number for number, one in enumerate(known)}
        used = [own[label] for label in np.unique(targets)]
        unknown = [one for one in used if tidied(one) not in numbers]
        if unknown:
            raise RunError(
                f"classes of a set to evaluate on must be among the network's; {name} has "
                f"{len(unknown):,} of {len(used):,} that are not: "
                f"{listed([repr(one) for one in unknown])}, and the network knows "
                f"{listed([repr(one) for one in classes])}: leave their images out, or rename them"
            )
        labels = targets
        if own != classes:
            if len(numbers) < len(known):
                raise RunError(
                    f"a network's classes must have names of their own to match those of {name} by; several "
                    f"are called {Counter(known).most_common(1)[0][0]!r}: convert {name} with --classes-of "
                    "the training set"
                )
            table = np.array([numbers.get(tidied(one), -1) for one in own], np.int64)
            labels = table[targets]
        known_here = np.bincount(labels, minlength=len(classes)) > 0
        return Matched(labels, known_here, lacking(known_here, self.spec, name))

    def wrongness(self, answers: Tensor, targets: Tensor, known: NDArray[np.bool_]) -> Tensor:
        """Return the probability of the class that was answered where it is a wrong one: see `Task`."""
        log_p, guesses = answers.max(dim=1)
        return log_p.exp() * (guesses != targets)

    def tally(self, known: NDArray[np.bool_], device: torch.device) -> ClassTally:
        """Return the empty tally: see `Task`."""
        return ClassTally(self.spec.classes, device)
