"""Scores that a sampler requests: losses or gradient norms of samples, without training on them."""

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
from trainer.inference.predict import View, predict
from trainer.interrupt import Stopped
from trainer.methods import Method
from trainer.parallel import World
from trainer.scores.gradients import measure


@dataclass(frozen=True, slots=True)
class RequestedScores:
    """Computes scores by forward passes, or by whole gradients if the sampler requests these.

    Attributes
    ----------
    gradients
        Whether each sample's gradient is measured.
    pixels
        Image size of scoring.
    view
        Augmentation and stage of scoring.
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
        """Return the cost charged for scoring."""
        return self.account.pass_cost("gradient" if self.gradients else "scored", samples, self.pixels)

    def make(self, ids: NDArray[np.int64], asked: Callable[[], bool] = lambda: False) -> None:
        """Score samples, and add the results to the feedback, as not trained on.

        Parameters
        ----------
        ids
            int64[n]; filled up to a multiple of the ranks by scoring the first ones again.
        asked
            Whether to stop, checked after each batch; the same on every rank.

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
        ledger.add("wait", self.loader.times.wait - waited)
        ledger.add("score", waited - self.loader.times.wait)
        self.account.charge("gradient" if self.gradients else "scored", len(ids), self.pixels)

    def _passes(self, order: Order) -> Iterator[tuple[Batch, Tensor, Tensor | None]]:
        if self.gradients:
            yield from measure(self.method, self.loader, self.view, order)
            return
        for batch, outputs in predict(self.method.encoder, self.loader, self.view, order, bf16=self.bf16):
            yield batch, outputs, None
