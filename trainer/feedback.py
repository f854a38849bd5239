"""Feedback: per-sample statistics of steps, kept on the device until the host needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch, Mixture
from pipeline.batch import Ids, PendingIds
from pipeline.device import side_stream
from pipeline.ops.memory import ToHost
from samplers import Feedback
from trainer.methods import Losses
from trainer.parallel import World


@dataclass(frozen=True, slots=True)
class _Rows:
    """The samples of one forward pass, without its images, so that their memory can be reused."""

    ids: Ids
    mixture: Mixture | None
    trained: bool


@dataclass(frozen=True, slots=True)
class CollectedFeedback:
    """Feedback and losses since the last drain.

    Attributes
    ----------
    feedback
        Rows of all forward passes, in the order of steps, gathered from all ranks.
    losses
        Mean loss of each trained step, over all ranks.
    trained
        int64[n], the id of each image that was trained on, of all ranks.
    accuracies
        Fraction of each trained step's images classified correctly, each label of a mixed image by its
        coefficient; empty for methods without classes.
    """

    feedback: Feedback
    losses: list[float]
    trained: NDArray[np.int64]
    accuracies: list[float] = field(default_factory=list)


class FeedbackBuffer:
    """Buffers per-sample statistics on the device; transfers them to the host together.

    Mixtures are known on the host, so only the loss and the method's statistics are copied, one number each
    per constituent, and the indices of the chosen samples if the device chose them. Under data parallelism
    the rows of all ranks are gathered, in rank order within each step, so that every rank observes the same
    ones.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._stream: torch.cuda.Stream | None = None
        self._measured: tuple[str, ...] = ()
        self.clear()

    def __len__(self) -> int:
        """Return the number of trained steps in the buffer."""
        return self._steps

    @property
    def empty(self) -> bool:
        """Whether the buffer has no rows, trained or scored."""
        return not self._batches

    def add(
        self,
        batch: Batch,
        losses: Losses,
        *,
        trained: bool = True,
        without: Tensor | None = None,
        gradient: Tensor | None = None,
    ) -> None:
        """Add the rows of a batch that was trained on, or only scored, without waiting for the device.

        Parameters
        ----------
        without
            int64[m] on the device, indices into the batch of rows to leave out: scored samples that are
            trained on next, because they will be reported by the training step instead.
        gradient
            float32[n] on the device, the norm of each image's gradient with respect to all parameters, or
            None if it wasn't measured. All batches between two drains must have the same statistics.
        """
        self._steps += trained
        measured = {"loss": losses.loss}
        if losses.p_true is not None:
            measured["p_true"] = losses.p_true
        if losses.error is not None:
            measured["error"] = losses.error
        if losses.correct is not None:
            measured["correct"] = losses.correct.to(losses.loss.dtype)
        if gradient is not None:
            measured["gradient"] = gradient[:, None]
        self._measured = tuple(measured)
        shape = len(batch), 1 if batch.mixture is None else batch.mixture.partners.shape[1]
        values = torch.stack([column.expand(shape) for column in measured.values()]).flatten(1)
        self._batches.append(_Rows(batch.ids, batch.mixture, trained))
        self._values.append(values)
        self._without.append(without)

    def drain(self, step: int) -> CollectedFeedback:
        """Return all rows since the last drain, and clear the buffer; waits for the device.

        Parameters
        ----------
        step
            Number of optimizer steps made so far.
        """
        return self.send(step).collect()

    def send(self, step: int) -> SentFeedback:
        """Begin to copy all rows since the last time to the host, and clear the buffer; doesn't wait."""
        sent = SentFeedback(self._world, step, self._steps, self._measured, self._batches, self._without)
        if self._values:
            values = torch.cat(self._values, dim=1)
            if self._stream is None and values.is_cuda:
                self._stream = side_stream(values.device)
            sent.copy(values, self._stream)
        self.clear()
        return sent

    def clear(self) -> None:
        """Remove all rows."""
        self._steps = 0
        self._measured = ()
        self._batches: list[_Rows] = []
        self._values: list[Tensor] = []
        self._without: list[Tensor | None] = []


class SentFeedback:
    """Rows of one or more steps on their way to the host, on a stream beside the training's.

    Parameters
    ----------
    step
        Number of optimizer steps made so far.
    steps
        Trained steps among the rows.
    measured
        Names of the statistics.
    batches, without
        Each forward pass's samples, and the indices of those to leave out.
    """

    def __init__(
        self,
        world: World,
        step: int,
        steps: int,
        measured: tuple[str, ...],
        batches: list[_Rows],
        without: list[Tensor | None],
    ) -> None:
        self._world = world
        self._step = step
        self._steps = steps
        self._measured = measured
        self._batches = batches
        self._without = without
        self._copies: ToHost | None = None

    def copy(self, values: Tensor, stream: torch.cuda.Stream | None) -> None:
        """Begin the copy of statistics, float[s, n], and of indices that only the device knows."""
        pending = [one.ids.indices for one in self._batches if isinstance(one.ids, PendingIds)]
        left_out = [one for one in self._without if one is not None]
        self._copies = ToHost([values, *pending, *left_out], stream)

    def collect(self) -> CollectedFeedback:
        """Return the rows, gathered from all ranks; waits until they are copied."""
        step = self._step
        if self._copies is None:
            nothing = np.empty(0, np.float32)
            none = np.empty(0, np.int64)
            return CollectedFeedback(Feedback(step, none, nothing, nothing, np.empty(0, np.bool_)), [], none)
        values, *rest = (tensor.numpy() for tensor in self._copies.wait())
        of_device = iter(rest)
        ids = [
            one.ids.candidates[next(of_device)] if isinstance(one.ids, PendingIds) else one.ids
            for one in self._batches
        ]
        without = [None if one is None else next(of_device) for one in self._without]
        sources: list[NDArray[np.int64]] = []
        mixing: list[NDArray[np.float32]] = []
        crediting: list[NDArray[np.float32]] = []
        trained: list[NDArray[np.bool_]] = []
        first: list[NDArray[np.int64]] = []
        kept: list[NDArray[np.bool_]] = []
        for one, images, left_out in zip(self._batches, ids, without, strict=True):
            constituents, coefficient = images[:, None], np.ones((len(images), 1), np.float32)
            credit = coefficient
            if one.mixture is not None:
                constituents, coefficient = images[one.mixture.partners], one.mixture.coefficients
                credit = coefficient if one.mixture.credited is None else one.mixture.credited
            keep = np.ones(constituents.shape, np.bool_)
            if left_out is not None:
                keep[left_out] = False
            kept.append(keep.ravel())
            sources.append(constituents.ravel())
            mixing.append(coefficient.ravel())
            crediting.append(credit.ravel())
            trained.append(np.full(constituents.size, one.trained))
            first.append(images if one.trained else images[:0])
        sizes = [len(one) for one in sources]
        # Gather first, then drop: ranks that draw a sample twice leave out different numbers of rows.
        # By position or not is one setting, so that all ranks gather the same arrays.
        by_position = any(
            one.mixture is not None and one.mixture.credited is not None for one in self._batches
        )
        rows: list[NDArray[Any]] = [
            np.concatenate(first),
            *(np.concatenate(column) for column in (kept, mixing, trained, sources)),
            *values,
            *([np.concatenate(crediting)] if by_position else []),
        ]
        if self._world.size > 1:
            rows = self._world.interleave(rows, [[len(one) for one in first]] + [sizes] * (len(rows) - 1))
        seen, stays, *gathered = rows
        coefficients, of_trained, of_samples, *in_full = (column[stays] for column in gathered)
        credited = in_full.pop() if by_position else coefficients
        # Samplers and the sample table keep float32, whatever the network computes in.
        columns = {
            name: row.astype(np.float32, copy=False)
            for name, row in zip(self._measured, in_full, strict=True)
        }
        feedback = Feedback(
            step=step,
            ids=of_samples,
            loss=columns["loss"],
            p_true=columns.get("p_true"),
            trained=of_trained,
            coefficient=None if (credited == 1).all() else credited,
            error=columns.get("error"),
            gradient=columns.get("gradient"),
        )
        per_step = {
            name: self._step_means((row * coefficients)[of_trained], len(seen))
            for name, row in zip(self._measured, in_full, strict=True)
            if name in ("loss", "correct")
        }
        return CollectedFeedback(feedback, per_step["loss"], seen, per_step.get("correct", []))

    def _step_means(self, values: NDArray[np.floating[Any]], images: int) -> list[float]:
        """Return each step's mean per image, from values multiplied by their coefficients."""
        if not self._steps:
            return []
        of_steps = values.reshape(self._steps, -1).sum(axis=1) / (images / self._steps)
        return [float(value) for value in of_steps]
