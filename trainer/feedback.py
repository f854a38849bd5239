"""Feedback: what a step learned about its samples, kept on the device until the host asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch, Mixture
from pipeline.batch import Ids, resolve
from samplers import Feedback
from trainer.methods import Losses
from trainer.parallel import World

S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is kept of one pass over a batch; not its images, whose memory is needed."""

    ids: Ids
    mixture: Mixture | None
    trained: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """What was collected since the last time.

    Attributes
    ----------
    feedback
        Rows of all passes, step by step, gathered over ranks.
    losses
        Mean loss of each trained step, over all ranks.
    trained
        int64[n], the id of each image that was trained, on all ranks.
    """

    feedback: Feedback
    losses: list[float]
    trained: NDArray[np.int64]


class FeedbackBuffer:
    """Collects losses and probabilities a step at a time, and gives them up in one copy from the device.

    Mixtures are known on the host, so only the loss and the method's statistics are copied, a number each per
    constituent; where the device chose the samples, their places as well. Under data parallelism the rows of
    all ranks are gathered, in rank order within each step, so that every rank observes the same.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._measured: tuple[str, ...] = ()
        self.clear()

    def __len__(self) -> int:
        """Count the trained steps that wait to be collected."""
        return self._steps

    @property
    def empty(self) -> bool:
        """Whether nothing waits, trained or scored."""
        return not self._passes

    def add(
        self,
        batch: Batch,
        losses: Losses,
        *,
        trained: bool = True,
        without: Tensor | None = None,
        gradient: Tensor | None = None,
    ) -> None:
        """Keep the rows of a batch that was trained on, or only scored; does not wait for the device.

        Parameters
        ----------
        without
            int64[m] on the device, positions in the batch whose rows are left out: scored samples that are
            trained next, and so will be heard of as that.
        gradient
            float32[n] on the device, the norm of each image's whole gradient, where it was measured. All that
            is drained together has the same statistics.
        """
        self._steps += trained
        measured = {"loss": losses.loss}
        if losses.p_true is not None:
            measured["p_true"] = losses.p_true
        if losses.error is not None:
            measured["error"] = losses.error
        if gradient is not None:
            measured["gradient"] = gradient[:, None]
        self._measured = tuple(measured)
        shape = len(batch), 1 if batch.mixture is None else batch.mixture.partners.shape[1]
        values = torch.stack([column.expand(shape) for column in measured.values()]).flatten(1)
        self._passes.append(_Pass(batch.ids, batch.mixture, trained))
        self._values.append(values)
        self._without.append(without)

    def drain(self, step: int) -> Heard:
        """All rows since the last drain; waits for the device.

        Parameters
        ----------
        step
            Optimizer steps made so far.
        """
        if not self._values:
            nothing = np.empty(0, np.float32)
            none = np.empty(0, np.int64)
            return Heard(Feedback(step, none, nothing, nothing, np.empty(0, np.bool_)), [], none)
        values = torch.cat(self._values, dim=1).cpu().numpy()
        ids, without = resolve([one.ids for one in self._passes]), _to_host(self._without)
        sources: list[NDArray[np.int64]] = []
        mixing: list[NDArray[np.float32]] = []
        trained: list[NDArray[np.bool_]] = []
        first: list[NDArray[np.int64]] = []
        kept: list[NDArray[np.bool_]] = []
        for one, images, left_out in zip(self._passes, ids, without, strict=True):
            whose, coefficient = images[:, None], np.ones((len(images), 1), np.float32)
            if one.mixture is not None:
                whose, coefficient = images[one.mixture.partners], one.mixture.coefficients
            keep = np.ones(whose.shape, np.bool_)
            if left_out is not None:
                keep[left_out] = False
            kept.append(keep.ravel())
            sources.append(whose.ravel())
            mixing.append(coefficient.ravel())
            trained.append(np.full(whose.size, one.trained))
            first.append(images if one.trained else images[:0])
        sizes = [len(one) for one in sources]
        # Ranks leave out different numbers of rows where one draws a sample twice: first gather, then drop.
        stays = self._world.interleave(np.concatenate(kept), sizes)

        def gather(rows: NDArray[S]) -> NDArray[S]:
            return self._world.interleave(rows, sizes)[stays]

        coefficients, of_trained = gather(np.concatenate(mixing)), gather(np.concatenate(trained))
        seen = self._world.interleave(np.concatenate(first), [len(one) for one in first])
        in_full = [gather(row) for row in values]
        # Samplers and the record keep float32, whatever the network computes in.
        columns = {
            name: row.astype(np.float32, copy=False)
            for name, row in zip(self._measured, in_full, strict=True)
        }
        feedback = Feedback(
            step=step,
            ids=gather(np.concatenate(sources)),
            loss=columns["loss"],
            p_true=columns.get("p_true"),
            trained=of_trained,
            coefficient=None if (coefficients == 1).all() else coefficients,
            error=columns.get("error"),
            gradient=columns.get("gradient"),
        )
        heard = Heard(feedback, self._step_losses((in_full[0] * coefficients)[of_trained], len(seen)), seen)
        self.clear()
        return heard

    def _step_losses(self, losses: NDArray[np.floating[Any]], images: int) -> list[float]:
        """Sum up each step's losses, which are weighted by coefficients, and divide by its images."""
        if not self._steps:
            return []
        of_steps = losses.reshape(self._steps, -1).sum(axis=1) / (images / self._steps)
        return [float(loss) for loss in of_steps]

    def clear(self) -> None:
        """Forget what waits."""
        self._steps = 0
        self._passes: list[_Pass] = []
        self._values: list[Tensor] = []
        self._without: list[Tensor | None] = []


def _to_host(tensors: list[Tensor | None]) -> list[NDArray[np.int64] | None]:
    """Bring some tensors of whole numbers to the host in one copy."""
    there = [tensor for tensor in tensors if tensor is not None]
    if not there:
        return [None] * len(tensors)
    bounds = np.cumsum([len(tensor) for tensor in there])[:-1]
    parts = iter(np.split(torch.cat(there).cpu().numpy(), bounds))
    return [None if tensor is None else next(parts) for tensor in tensors]
