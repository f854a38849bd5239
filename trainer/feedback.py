"""Feedback: what a step learned about its samples, kept on the device until the host asks for it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import Batch
from samplers import Feedback
from trainer.methods import Losses
from trainer.parallel import World


class FeedbackBuffer:
    """Collects losses and probabilities a step at a time, and gives them up in one copy from the device.

    Owners and shares are known on the host, so only three float32 numbers a constituent are copied. Under
    data parallelism the rows of all ranks are gathered, in rank order within each step, so that every rank
    observes the same.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._owners: list[NDArray[np.int64]] = []
        self._shares: list[NDArray[np.float32]] = []
        self._trained: list[NDArray[np.bool_]] = []
        self._values: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, batch: Batch, losses: Losses, *, trained: bool = True) -> None:
        """Keep the rows of a batch that was trained on, or only scored; does not wait for the device."""
        self._trained.append(np.full(batch.owners.size, trained))
        self._owners.append(batch.owners.ravel())
        self._shares.append(batch.owner_shares.ravel())
        self._values.append(torch.stack((losses.per_owner, losses.p_true, losses.error)).flatten(1))

    def drain(self, step: int) -> Feedback:
        """All rows since the last drain, gathered over ranks; waits for the device.

        Parameters
        ----------
        step
            Optimiser steps made so far.
        """
        if not self._values:
            nothing = np.empty(0, np.float32)
            return Feedback(step, np.empty(0, np.int64), nothing, nothing, np.empty(0, np.bool_))
        sizes = [len(owners) for owners in self._owners]
        loss, p_true, error = torch.cat(self._values, dim=1).cpu().numpy()
        gather = self._world.interleave
        share = gather(np.concatenate(self._shares), sizes)
        heard = Feedback(
            step=step,
            ids=gather(np.concatenate(self._owners), sizes),
            loss=gather(loss, sizes),
            p_true=gather(p_true, sizes),
            trained=gather(np.concatenate(self._trained), sizes),
            share=None if (share == 1).all() else share,
            error=gather(error, sizes),
        )
        self._owners.clear()
        self._shares.clear()
        self._trained.clear()
        self._values.clear()
        return heard
