"""Prediction: what a trained network answers for one image."""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Prediction:
    """A network's answer for one image; what the network wasn't trained for is empty.

    Attributes
    ----------
    image
        Its name.
    classes
        Names of the classes, or of the labels that an image may have, the most probable first.
    probabilities
        One per class or label, in the same order. Of classes they sum to 1; each label has its own.
    labels
        Of a multi-label network, the labels whose probability reaches the threshold; else None.
    values
        Of regression, the values.
    """

    image: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    labels: tuple[str, ...] | None = None
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        count = _SHOWN if self.labels is None else len(self.labels)
        likely = zip(self.classes[:count], self.probabilities, strict=False)
        words = [f"{name} {p:.1%}" for name, p in likely] + [f"{value:.6g}" for value in self.values]
        return f"{self.image}: {', '.join(words) or 'no label'}"
