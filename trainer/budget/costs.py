"""Costs of passes, relative to training on one sample at full resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of a run's passes, in units of training on one sample at full resolution.

    Attributes
    ----------
    train
        Cost of training on a sample, keyed by image size, including sizes of scoring; 1 at full resolution.
    charged
        Samples trained on before the run.
    forward
        FLOPs of one image's forward pass, keyed by image size, 1 at full resolution; by default proportional
        to ``train``.
    step_passes
        FLOPs of a step per sample at full resolution, in units of the encoder's forward pass: 3 if one
        network is trained on one view.
    forward_flops
        FLOPs of one image's forward pass at full resolution.
    """

    train: Mapping[int, float]
    charged: int = 0
    forward: Mapping[int, float] = field(default_factory=dict)
    step_passes: float = 3.0
    forward_flops: int = 0

    def __post_init__(self) -> None:
        if not self.forward:
            object.__setattr__(self, "forward", self.train)

    @property
    def gradient(self) -> float:
        """Cost of measuring a sample's gradient: the encoder's forward and backward pass."""
        return 3 / self.step_passes

    def trained(self, samples: Mapping[int, int]) -> float:
        """Return the cost of training on samples, whose numbers are keyed by image size."""
        return sum(count * self.train[pixels] for pixels, count in samples.items())

    def scored(self, samples: Mapping[int, int], measured: Mapping[int, float]) -> float:
        """Return the cost of scoring samples: as measured on the device, or else by its FLOPs."""
        return sum(
            count * measured.get(pixels, self.forward.get(pixels, 1.0) / self.step_passes)
            for pixels, count in samples.items()
        )

    def forward_passes(self, trained: float, scored: Mapping[int, int]) -> float:
        """Return the compute by FLOPs, in units of one sample's forward pass at full resolution.

        Parameters
        ----------
        trained
            Cost of all passes that aren't of scoring.
        scored
            Samples scored, keyed by image size.
        """
        scoring = sum(count * self.forward[pixels] for pixels, count in scored.items())
        return self.step_passes * trained + scoring

    def table(self) -> dict[str, Any]:
        """Return the costs as in ledger.json."""
        return {
            "charged": self.charged,
            "train_costs": by_size(self.train),
            "forward_costs": by_size(self.forward),
            "forward_flops": self.forward_flops,
            "step_flops": self.forward_flops * self.step_passes,
        }


def by_size(by_pixels: Mapping[int, float]) -> dict[str, float]:
    """Return values keyed by image size as JSON has them."""
    return {str(pixels): value for pixels, value in sorted(by_pixels.items())}
