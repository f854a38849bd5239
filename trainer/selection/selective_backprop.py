"""selective_backprop: each candidate is kept or not by its loss's standing among recent ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from trainer.errors import RunError
from trainer.selection.base import BaseSelection, scored_losses
from trainer.selection.checks import check_at_least, check_share
from trainer.selection.protocol import Candidates, Choice, Setting
from trainer.selection.ranks import percentiles_among
from trainer.selection.schedule import Scored


@dataclass(frozen=True)
class SelectiveBackprop(Scored):
    """Each candidate kept with a power of its loss's percentile among the last R: selective backpropagation.

    000 eq. 4, after Jiang et al. (2019): a sample is kept with probability ::

        [F_R(loss_i)]^beta

    F_R being the distribution function of the last R scored losses, the candidates' own included. What is
    kept is collected until a batch is full. As F_R is uniform, 1 / (beta + 1) of the candidates are kept on
    average, which gives beta 4, 2.33 and 1 at budgets .2, .3 and .5. Its number varies, so the device is
    waited for once a pool.

    Candidates are scored without mixing, and what is kept is mixed afterwards. The released code trains
    unmixed images with mixed labels under mixup, and under RICAP cuts images collected from many forward
    passes by the last one's geometry.
    """

    start: float = 0.025
    """Progress before which nothing is selected; published is the first epoch, 1 of 200 * 0.2 here."""

    keep: float = 0.3
    """Fraction of the candidates kept on average, where beta isn't given."""

    beta: float | None = None
    """Selectivity, at least 0; None takes 1 / keep - 1."""

    history: int = 1024
    """R, the number of past losses that a loss is compared with."""

    exact: ClassVar[bool] = False
    syncs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("keep", self.keep)
        if self.beta is not None:
            check_at_least("beta", self.beta, 0)
        if self.history < 1:
            raise RunError(f"selection.history must be at least 1 loss; got {self.history}")

    @property
    def power(self) -> float:
        """Beta of eq. 4."""
        return 1 / self.keep - 1 if self.beta is None else self.beta

    @property
    def ratio(self) -> float:
        """Candidates for each trained sample, on average: beta + 1."""
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
        self._heard = 0

    def choose(self, candidates: Candidates) -> Choice:
        """Keep each with probability F_R(loss)^beta; waits for the device to know how many."""
        losses = scored_losses(candidates).per_owner[:, 0]
        size = len(self._ring)
        # Of a pool larger than the ring only the last go in: a place written twice has no order on a GPU.
        first = max(0, len(losses) - size)
        places = torch.arange(self._heard + first, self._heard + len(losses), device=losses.device) % size
        self._ring[places] = losses[first:]
        self._heard += len(losses)
        chances = percentiles_among(losses, self._ring[: min(self._heard, size)]) ** self.part.power
        return Choice((candidates.uniforms[:, 0] < chances).nonzero()[:, 0])

    def state_dict(self) -> dict[str, Any]:
        """Give the ring, and how many losses have gone into it."""
        return {"ring": self._ring.clone(), "heard": self._heard}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them in."""
        self._ring.copy_(state["ring"])
        self._heard = state["heard"]
