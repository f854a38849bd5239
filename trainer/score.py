"""Scores that a sampler asks for: what the network makes of samples now, without training on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch, Loader
from samplers import Order
from trainer.account import Account
from trainer.feedback import FeedbackBuffer
from trainer.gradients import measure
from trainer.inference.predict import View, predict
from trainer.interrupt import Stopped
from trainer.methods import Method
from trainer.parallel import World


@dataclass(frozen=True, slots=True)
class RequestedScores:
    """Makes scores by forward passes, or by whole gradients where the sampler asks for these.

    Attributes
    ----------
    gradients
        Whether each sample's gradient is measured.
    pixels
        Pixels of the shorter side at which samples are shown.
    view
        How they are shown.
    """

    method: Method
    gradients: bool
    loader: Loader
    view: View
    pixels: int
    bf16: bool
    account: Account
    feedback: FeedbackBuffer
    world: World

    def cost(self, samples: int) -> float:
        """Return what scoring is charged."""
        return self.account.pass_cost("gradient" if self.gradients else "scored", samples, self.pixels)

    def make(self, ids: NDArray[np.int64], asked: Callable[[], bool] = lambda: False) -> None:
        """Score samples, and keep the outcome as feedback of samples that were not trained.

        Parameters
        ----------
        ids
            int64[n]; filled up to a multiple of the ranks by scoring the first ones again.
        asked
            Whether to stop, looked at after each batch; the same on every rank.

        Raises
        ------
        Stopped
            When it was asked to.
        """
        if len(ids) == 0:
            return
        ids = np.concatenate((ids, np.resize(ids, -len(ids) % self.world.size)))
        waited, ledger = self.loader.times.wait, self.account.ledger
        with ledger.phase("score"):
            for batch, outputs, norms in self._passes(Order(round=0, ids=ids)):
                losses = self.method.losses(outputs, batch.constituents(batch.targets["label"]))
                self.feedback.add(batch, losses, trained=False, gradient=norms)
                if asked():
                    raise Stopped
        # Waiting for images has a phase of its own.
        ledger.add("score", waited - self.loader.times.wait)
        self.account.charge("gradient" if self.gradients else "scored", len(ids), self.pixels)

    def _passes(self, order: Order) -> Iterator[tuple[Batch, Tensor, Tensor | None]]:
        if self.gradients:
            yield from measure(self.method, self.loader, self.view, order)
            return
        for batch, outputs in predict(self.method.encoder, self.loader, self.view, order, bf16=self.bf16):
            yield batch, outputs, None
