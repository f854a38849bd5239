"""selective_backprop: keeps each candidate with a probability given by its loss's percentile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch

from trainer.errors import RunError
from trainer.selection.helpers.base import BaseSelection, Scored, scored_losses
from trainer.selection.helpers.checks import check_at_least, check_fraction
from trainer.selection.helpers.draws import percentiles_among
from trainer.selection.protocol import Candidates, Choice, Setting, Terms


@dataclass(frozen=True)
class SelectiveBackprop(Scored):
    """Each candidate kept with a power of its loss's percentile among the last R: selective backpropagation.

    Arazo et al. (2021) eq. 4, after Jiang et al. (2019): a sample is kept with probability ::

        [F_R(loss_i)]^beta

    F_R being the distribution function of the last R scored losses, the candidates' own included. Kept
    candidates are queued until a batch is full. As F_R is uniform, 1 / (beta + 1) of the candidates are kept
    on average. Their number varies, so the host waits for the device once per pool.

    Beta is what sets the budget there: in each of T epochs all N samples are scored and N * B are trained on,
    which gives beta 4, 2.33 and 1 at budgets .2, .3 and .5, and the first epoch is trained on as it comes. So
    by default ``keep`` is the run's budget and ``start`` is one epoch, N of T * N * B trained samples. Use
    ``--sampler scan``, which shows each candidate once per pass over the set; uniform draws some again while
    others wait.

    Candidates are scored without mixing, and those kept are mixed afterwards. The released code trains
    unmixed images with mixed labels under mixup, and under RICAP cuts images collected from many forward
    passes by the last one's geometry.
    """

    start: float | None = None
    """Progress in [0, 1] of the budget before which nothing is selected; None takes the first epoch, 1 / (T *
    B) of the run."""

    keep: float | None = None
    """Fraction of the candidates kept on average, if beta isn't given; None means the run's budget."""

    beta: float | None = None
    """Selectivity, at least 0; None means 1 / keep - 1."""

    history: int = 1024
    """R, the number of past losses that a loss is compared with."""

    exact: ClassVar[bool] = False
    syncs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None:
            check_fraction("keep", self.keep)
        if self.beta is not None:
            check_at_least("beta", self.beta, 0)
        if self.beta is not None and self.keep is not None:
            raise RunError(
                f"selection.keep and beta are one setting, keep = 1 / (beta + 1); got {self.keep:g} and "
                f"{self.beta:g}: leave one of them out"
            )
        if self.history < 1:
            raise RunError(f"selection.history must be at least 1 loss; got {self.history}")

    def bind(self, terms: Terms) -> Self:
        """Return the config with ``keep`` set by the budget; see `SelectionConfig.bind`."""
        part = self
        if self.beta is None and self.keep is None:
            if terms.budget == 1:
                raise RunError(
                    "selective_backprop keeps as much as the budget is, and a budget of 1 leaves nothing to "
                    "select: lower --budget, or give --selection.keep"
                )
            part = replace(self, keep=terms.budget)
        return super(SelectiveBackprop, part).bind(terms)

    def begins(self, terms: Terms) -> float:
        """Return one epoch of N samples, of the T * B that are trained on."""
        if math.isinf(terms.epochs):
            raise RunError(
                "selection.start must be given under --budget-hours, which don't say what part of the run an "
                "epoch is; got None: give --selection.start 0.05, say"
            )
        return 1 / (terms.epochs * terms.budget)

    @property
    def power(self) -> float:
        """Beta of eq. 4."""
        if self.beta is not None:
            return self.beta
        assert self.keep is not None
        return 1 / self.keep - 1

    @property
    def ratio(self) -> float:
        """Candidates per trained sample, on average: beta + 1."""
        return self.power + 1

    def build(self, setting: Setting) -> SelectiveBackpropSelection:
        """Make the selection."""
        return SelectiveBackpropSelection(self, setting)


class SelectiveBackpropSelection(BaseSelection):
    """Keeps the last R losses in a ring on the device."""

    part: SelectiveBackprop

    def __init__(self, part: SelectiveBackprop, setting: Setting) -> None:
        super().__init__(part, setting)
        self._ring = torch.zeros(part.history, device=setting.device)
        self._seen = 0

    def choose(self, candidates: Candidates) -> Choice:
        """Keep each with probability F_R(loss)^beta; waits for the device to know how many."""
        losses = scored_losses(candidates).loss[:, 0]
        size = len(self._ring)
        # In the precision of the losses that it is compared with.
        self._ring = self._ring.to(losses.dtype)
        # Only the last losses of a pool larger than the ring: writing an index twice has no order on a GPU.
        first = max(0, len(losses) - size)
        indices = torch.arange(self._seen + first, self._seen + len(losses), device=losses.device) % size
        self._ring[indices] = losses[first:]
        self._seen += len(losses)
        chances = percentiles_among(losses, self._ring[: min(self._seen, size)]) ** self.part.power
        return Choice((candidates.uniforms[:, 0] < chances).nonzero()[:, 0])

    def state_dict(self) -> dict[str, Any]:
        """Return the ring, and how many losses have gone into it."""
        return {"ring": self._ring.clone(), "heard": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._ring = state["ring"].to(self.setting.device, copy=True)
        self._seen = state["heard"]
