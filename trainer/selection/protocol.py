"""Protocols of selections, which choose on the device the loaded samples to train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import Batch
from trainer.methods import Losses, Offer
from trainer.models import ModelConfig
from trainer.parallel import World

if TYPE_CHECKING:
    from trainer.further import FurtherNetwork, MakeFurther


@dataclass(frozen=True, slots=True)
class Setting:
    """Context that a selection is built in.

    Attributes
    ----------
    batch_size
        b, samples trained a step on this rank.
    samples
        N, the size of the training set.
    device
        Where candidates are.
    world
        The ranks that train together, for what they must agree on.
    model
        The network, of which a part may ask the size of its weights; None where there is none.
    digest
        SHA-256 of the training set, as on its card; None where it isn't known.
    budget
        B, in (0, 1].
    network
        The network's config; None where there is none.
    further
        Makes further networks, which are trained as the run's own; None where there is no run.
    """

    batch_size: int
    samples: int
    device: torch.device
    world: World = field(default_factory=World)
    model: nn.Module | None = None
    digest: str | None = None
    budget: float = 1.0
    network: ModelConfig | None = None
    further: MakeFurther | None = None

    @property
    def epoch(self) -> int:
        """Samples trained in each of T epochs at this budget, N * B, at least 1."""
        return max(1, round(self.samples * self.budget))


@dataclass(frozen=True, slots=True)
class Terms:
    """Properties of a run that determine a selection's open options.

    Attributes
    ----------
    budget
        B, in (0, 1].
    epochs
        T, epochs of a full-budget training; infinite where hours bound it.
    batch_size
        b, samples trained per step over all ranks.
    """

    budget: float
    epochs: float
    batch_size: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """n loaded samples to choose from: lightly augmented, not mixed.

    Attributes
    ----------
    ids
        int64[n] on the host.
    images
        float[n, C, H, W], normalized, at the resolution at which they are scored.
    labels
        int64[n], or the set's targets of another kind; None where it has none.
    uniforms
        float32[n, 2] in [0, 1), drawn on the host from the run's selection seed, by step and place.
    outputs
        float32[n, classes] of the scoring pass; None where the part doesn't score.
    losses
        Of the scoring pass, [n, 1] each, without gradients; None as above.
    features
        float32[n, d], what the network's classifier read in the scoring pass; None unless the part
        asks for features.
    progress
        Fraction of the budget spent, in [0, 1].
    """

    ids: NDArray[np.int64]
    images: Tensor
    labels: Tensor | None
    uniforms: Tensor
    outputs: Tensor | None = None
    losses: Losses | None = None
    features: Tensor | None = None
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidates to train on.

    Attributes
    ----------
    indices
        int64[b], into the candidates, on the device.
    weights
        float32[b], loss multipliers, or None for all 1.
    """

    indices: Tensor
    weights: Tensor | None = None


class Selection(Protocol):
    """A selection. Its state is on the device; see `SelectionConfig` for its traits.

    A config may be its own selection if that has no state.
    """

    def on(self, step: int, progress: float) -> bool:
        """Return whether to select from pool ``step`` of candidates, at ``progress`` in [0, 1] of the budget.

        Pools are counted from 0; a selection that loads no more than it trains on (`Weighting`) has one per
        optimizer step. If False, all candidates are trained on, batch by batch, without scoring.
        """

    def choose(self, candidates: Candidates) -> Choice:
        """Choose b of the candidates, or any number of them if the config isn't ``exact``.

        Mustn't wait for the device, unless the config declares that it does (``syncs``).
        """

    def observe(self, losses: Losses, batch: Batch, choice: Choice | None) -> None:
        """Observe the results of training on ``batch``: detached losses [n, k], one per constituent.

        ``choice`` is the result of `choose` for this batch; None if the batch wasn't selected.
        """

    def end_round(self) -> None:
        """End-of-round hook; may wait for the device."""

    def state_dict(self) -> dict[str, Any]:
        """Return all state that later choices depend on: tensors and plain numbers."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""


@runtime_checkable
class Weighting(Protocol):
    """A selection that loads no further candidates, and weights the losses of a batch instead."""

    def weigh(self, losses: Losses, batch: Batch) -> Tensor:
        """Return each image's multiplier, float32[n] without gradient; the loss is mean(loss * multiplier).

        ``losses`` of ``batch`` carry the gradient of the training pass.
        """


@runtime_checkable
class OwnNetwork(Protocol):
    """Config of a selection that scores candidates by a network of its own, the selection's ``own``.

    The account charges all passes of that network as scoring; its losses are not fed back to the sampler.
    """

    @property
    def every(self) -> int:
        """Number of pools from one step of its network to the next."""

    @property
    def passes(self) -> float:
        """Cost of its passes per candidate, training included, in its forward passes."""

    def network_of(self, network: ModelConfig) -> ModelConfig:
        """Return the config of its network, by the one of the run's.

        Raises
        ------
        RunError
            When there is no such network.
        """


@runtime_checkable
class Owner(Protocol):
    """A selection that scores by a network of its own.

    Attributes
    ----------
    own
        That network.
    """

    own: FurtherNetwork


class SelectionConfig(Protocol):
    """A frozen dataclass whose fields are the selection's options.

    Options may be open (None) until `bind` sets them; the other methods are called on bound configs only.
    """

    def bind(self, terms: Terms) -> SelectionConfig:
        """Return the config with its open options set by the run's terms.

        Raises
        ------
        RunError
            When they leave the selection nothing to do.
        """

    @property
    def ratio(self) -> float:
        """Candidates loaded per trained sample, at least 1; in expectation if not ``exact``."""

    @property
    def scores(self) -> bool:
        """Whether the network scores candidates first, in evaluation mode."""

    @property
    def features(self) -> bool:
        """Whether the scoring pass returns features."""

    @property
    def needs(self) -> tuple[Offer, ...]:
        """Statistics of `Losses` that the selection uses besides the loss, which not every method offers."""

    @property
    def exact(self) -> bool:
        """Whether `Selection.choose` always returns b."""

    @property
    def syncs(self) -> bool:
        """Whether choosing waits for the device."""

    def build(self, setting: Setting) -> Selection:
        """Return the selection in its initial state.

        Raises
        ------
        RunError
            When the options don't fit the setting, or a file is missing.
        """
