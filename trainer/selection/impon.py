"""impon: an online linear model predicts the loss, and the highest predictions are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from pipeline import Batch
from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.methods import Losses
from trainer.selection.helpers.base import BaseSelection, Scheduled
from trainer.selection.helpers.checks import check_at_least, check_choice
from trainer.selection.helpers.draws import highest
from trainer.selection.protocol import Candidates, Choice, Setting, Terms


@dataclass(frozen=True)
class Impon(Scheduled):
    """The highest losses of a bank as predicted by a linear model, which is trained online.

    IMPON, section 3 of its paper. Of a bank of uniform candidates the b highest predictions of ::

        loss_i ~ <w, {features_i; ||W||_F; 1}>

    are trained on, ||W||_F being the Frobenius norm of the network's weight matrices; then one step of SGD on
    the mean squared error moves w towards the observed losses. w starts from 0 in every epoch of training,
    that is after every N * B trained samples, whatever a round holds, and the first b of the bank are taken
    then; a torch.nn.Linear would start from random weights. The network sees only what is trained, unless its
    own features are used.

    The paper's bank is 200, whatever the batch. It leaves the feature map open: here pixels averaged over a
    grid of squares, or the inputs of the network's last layer, which take a scoring pass. It trains the
    network at lr 1e-3 and its baselines at 0.1: report both at 0.1 too. Under mixing a sample's observed
    loss is the mean over the images that show it, by its coefficients there.
    """

    bank: int = 200
    """Candidates in the bank, over all ranks; at least a batch."""

    ratio: float = 0.0
    """Candidates in the bank per trained sample, in place of bank; 0 means bank."""

    inputs: Literal["pixels", "penultimate"] = "pixels"
    """Input of the linear model: averaged pixels, or the features of a scoring pass."""

    grid: int = 4
    """Number of squares along each side of an image over which pixels are averaged."""

    lr: float = 1e-6
    """Learning rate of the linear model."""

    lowest: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("bank", self.bank, 2)
        if self.ratio != 0:
            check_at_least("ratio", self.ratio, 1)
            if self.bank != type(self).bank:
                raise RunError(
                    f"selection.ratio takes the place of selection.bank; got {self.ratio:g} and "
                    f"{self.bank:,}: leave one of them out"
                )
        check_choice("inputs", self.inputs, ("pixels", "penultimate"))
        if self.grid < 1:
            raise RunError(f"selection.grid must be at least 1 square; got {self.grid}")
        if not 0 < self.lr < float("inf"):
            raise RunError(f"selection.lr must be above 0 and finite; got {self.lr:g}")

    def bind(self, terms: Terms) -> Self:
        """Return the config with the ratio of the bank to a batch; see `SelectionConfig.bind`."""
        part = self
        if self.ratio == 0:
            if self.bank < terms.batch_size:
                raise RunError(
                    f"selection.bank must be at least the batch of {terms.batch_size:,}; got {self.bank:,}: "
                    f"give --selection.bank {round(200 / 128 * terms.batch_size):,}, or lower --batch-size"
                )
            part = replace(self, bank=type(self).bank, ratio=self.bank / terms.batch_size)
        return super(Impon, part).bind(terms)

    @property
    def scores(self) -> bool:
        """Whether features are the network's own, which take a scoring pass."""
        return self.inputs == "penultimate"

    @property
    def features(self) -> bool:
        """Whether the scoring pass returns features."""
        return self.inputs == "penultimate"

    def build(self, setting: Setting) -> ImponSelection:
        """Make the selection."""
        return ImponSelection(self, setting)


@dataclass(frozen=True)
class ImponLow(Impon):
    """The lowest losses of a bank as predicted by a linear model: impon's control.

    IMPONwLowScores of section 4 there. Everything else, including options, as impon.
    """

    lowest: ClassVar[bool] = True


class ImponSelection(BaseSelection):
    """Holds the linear model, and the context of the current batch."""

    part: Impon

    def __init__(self, part: Impon, setting: Setting) -> None:
        super().__init__(part, setting)
        assert setting.model is not None
        self._matrices = [weights for weights in setting.model.parameters() if weights.ndim >= 2]
        self._weights: Tensor | None = None
        self._trained: Tensor | None = None
        self._finite = torch.ones((), dtype=torch.bool, device=setting.device)
        self._samples = 0

    @torch.no_grad()
    def choose(self, candidates: Candidates) -> Choice:
        """Choose the highest (or lowest) predicted losses."""
        context = self._context(candidates)
        if self._weights is None:
            self._weights = context.new_zeros(context.shape[1])
        predicted = context @ self._weights
        indices = highest(-predicted if self.part.lowest else predicted, self.count(candidates))
        self._trained = context[indices]
        return Choice(indices)

    @torch.no_grad()
    def observe(self, losses: Losses, batch: Batch, choice: Choice | None) -> None:
        """Make a step of SGD on the losses of a chosen batch, whose rows are in the choice's order."""
        if choice is not None and self._trained is not None and self._weights is not None:
            observed = batch.per_sample(losses.loss)
            residuals = self._trained @ self._weights - observed
            slope = self._trained.T @ residuals * (2 / max(1, len(residuals)))
            self._weights = self._weights - self.part.lr * slope
            # Losses that aren't finite are the network's fault, and reported elsewhere.
            self._finite &= self._weights.isfinite().all() | ~observed.isfinite().all()
            self._trained = None
        epoch, before = self.setting.epoch, self._samples
        self._samples += len(batch) * self.setting.world.size
        if before // epoch != self._samples // epoch:
            self._weights = None

    def end_round(self) -> None:
        """Stop a run whose linear model has diverged: it would choose the first of every bank."""
        if not self._finite.item():
            raise RunError(
                "selection.lr must be low enough for the linear model to stay finite, below about 1 / the "
                f"squared norm of the weights and features; got {self.part.lr:g}: lower it"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the linear model, None at an epoch's beginning, and the number of trained samples."""
        weights = None if self._weights is None else self._weights.clone()
        return {"weights": weights, "samples": self._samples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        saved, self._samples = state["weights"], state["samples"]
        self._weights = None if saved is None else saved.to(self.setting.device, copy=True)

    def _context(self, candidates: Candidates) -> Tensor:
        """Return float32[n, d + 2]: features, ||W||_F and 1."""
        if self.part.inputs == "pixels":
            grid = (self.part.grid, self.part.grid)
            images = at_least_float32(candidates.images)
            read = torch.nn.functional.adaptive_avg_pool2d(images, grid).flatten(1)
        else:
            assert candidates.features is not None
            read = at_least_float32(candidates.features)
        size = torch.nn.utils.get_total_norm(self._matrices)
        rows = len(read)
        return torch.cat((read, size.expand(rows, 1), read.new_ones(rows, 1)), dim=1)
