"""A DataLoader whose samples are chosen by a sampler under a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from pipeline import Batch, Mixture
from pipeline.ops.memory import place
from samplers import Order, Plan, SamplerConfig, State
from trainer.errors import RunError
from trainer.feedback import FeedbackBuffer
from trainer.methods import Losses
from trainer.parallel import World
from trainer.plain_loop.criterion import BudgetedLoss
from trainer.plain_loop.numbered import check_loader, numbered
from trainer.plain_loop.position import Position
from trainer.plain_loop.rates import ScaledRates
from trainer.plain_loop.sampler import check_sampler, config_of, labels_of, name_of


class BudgetedLoader:
    """A DataLoader's batches, of samples chosen under a budget: each iteration over it is one round.

    The data set, the collate function, workers, pinned memory and all other settings of the loader stay; its
    order and ``drop_last`` are replaced, and every batch is full. A whole training takes ``steps`` batches in
    ``rounds`` iterations, as many as ``epochs`` (but for ``scan``, whose budget cuts their number), so that a
    schedule by epochs reaches its end with the budget::

        loader = BudgetedLoader(DataLoader(data, 128), "p_sgd", epochs=20, budget=0.3)
        criterion = loader.criterion(nn.CrossEntropyLoss())
        for epoch in range(loader.rounds):
            for images, labels in loader:
                loss = criterion(model(images), labels)

    Losses stay on the device until the next round begins. Under data parallelism
    (``torch.distributed`` initialized before) each rank loads its part of every batch, all of them see the
    feedback of all, and ``state_dict`` is to be called on every rank.

    Parameters
    ----------
    loader
        With a map-style data set and a ``batch_size``: that of one rank.
    sampler
        The name of a sampler (`samplers.SAMPLERS`), or its config where options differ from the defaults.
    epochs, budget
        T and B of the plan: round(T * N * B) samples are trained on.
    seed
        Seed of the orders.
    round_length
        Length of a round in epochs of N * B samples; below 1 there are more rounds than epochs.
    oscillation, oscillation_rounds
        Depth and phase of an oscillation of the rounds' volume at the same total: see `samplers.Plan`.
    labels
        int64[N], the classes, for samplers by class; by default the data set's ``targets``, if it has any.
    optimizer
        For samplers that scale the learning rate (``kakurenbo``): its rate is scaled within each step, under
        whatever schedule.

    Raises
    ------
    RunError
        If the loader's order can't be replaced, or the sampler needs what a plain loop doesn't measure.
    SamplingError
        If a name, an option or the budget is impossible.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        sampler: str | SamplerConfig,
        *,
        epochs: float,
        budget: float,
        seed: int = 0,
        round_length: float = 1.0,
        oscillation: float = 0.0,
        oscillation_rounds: int = 1,
        labels: NDArray[np.int64] | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        check_loader(loader)
        self._config = config_of(sampler)
        labels = labels_of(loader.dataset) if labels is None else labels
        check_sampler(self._config, has_labels=labels is not None, has_optimizer=optimizer is not None)
        self._world = World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World()
        self._rows: int = loader.batch_size or 1
        self.plan = Plan(
            samples=len(loader.dataset),  # type: ignore[arg-type]
            epochs=epochs,
            budget=budget,
            batch_size=self._rows * self._world.size,
            seed=seed,
            round_length=round_length,
            labels=labels,
            oscillation=oscillation,
            oscillation_rounds=oscillation_rounds,
        )
        self._sampler: Any = self._config.build(self.plan)
        self._plain = loader
        self._loader = numbered(loader, self._batches)
        self._feedback = FeedbackBuffer(self._world)
        self._watched = False
        self._at = Position()
        self._length: int | None = None
        """Number of batches of the iteration under way."""
        self._due: int | None = None
        """Number of the batch whose loss is still to be given."""
        self._scoring: NDArray[np.int64] | None = None
        if optimizer is not None:
            ScaledRates(optimizer, lambda: 1.0 if self.order is None else self.order.lr_scale)

    @property
    def rounds(self) -> int:
        """Number of iterations of the whole training."""
        rounds: int = self._sampler.rounds
        return rounds

    @property
    def steps(self) -> int:
        """Number of batches of the whole training."""
        return self.plan.steps

    @property
    def round(self) -> int:
        """Number of completed rounds; a resumed loop goes over ``range(loader.round, loader.rounds)``."""
        return self._at.round

    @property
    def order(self) -> Order | None:
        """The order under way, or the last one; None before the first."""
        return self._at.order

    @property
    def needs(self) -> tuple[str, ...]:
        """Statistics of samples that the sampler uses."""
        return self._config.needs

    @property
    def dataset(self) -> Any:
        """The loader's data set."""
        return self._plain.dataset

    @property
    def batch_size(self) -> int:
        """Samples in a batch, on this rank."""
        return self._rows

    def __len__(self) -> int:
        """Return the number of batches of the iteration under way, else of the next; at the end, the last."""
        size, number, order = self.plan.batch_size, self.round, self.order
        if self._length is not None or self._at.left:
            return self._length or len(self._at.left)
        if order is not None and number == self.rounds:
            return len(order.ids) // size
        before = sum(self._sampler.size(earlier) for earlier in range(number))
        return int((before + self._sampler.size(number)) // size - before // size)

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"BudgetedLoader({name_of(self._config)}, {plan.budget:.4g} of {plan.epochs:g} epochs of "
            f"{plan.samples:,} samples: {self.round} of {self.rounds} rounds, {self._at.steps:,} of "
            f"{self.steps:,} steps of {plan.batch_size})"
        )

    def criterion(self, criterion: Callable[..., Tensor]) -> BudgetedLoss:
        """Return a loss function for the loop: see `BudgetedLoss`."""
        self._watched = True
        return BudgetedLoss(criterion, self)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the next round, or the rest of one that was left early or loaded.

        Raises
        ------
        RunError
            If the budget is spent, or losses or requested scores are missing.
        """
        if not self._watched and self.needs:
            raise RunError(
                f"{name_of(self._config)} learns from the losses: make the loss function by "
                "loader.criterion(...)"
            )
        try:
            for number, batch in self._loader:
                if self._watched:
                    self._due = number
                else:
                    self._at.trained(number)
                yield batch
                if self._due is not None:
                    raise RunError(
                        "a batch's loss must be given by loader.criterion(...), with gradients, before the "
                        "next batch is fetched; none was: call it for every batch, and fetch none ahead"
                    )
        finally:
            self._length = self._due = None

    def _batches(self) -> Iterator[list[int]]:
        """Yield this rank's part of the batches that are left, each behind its number."""
        if not self._at.left:
            self._begin()
        assert self.order is not None
        self._length = len(self._at.left)
        for number in list(self._at.left):
            yield [number, *self.order.ids[self._part(number)].tolist()]

    def _part(self, number: int) -> slice:
        """Return where in the order this rank's samples of a batch stand."""
        start = number * self.plan.batch_size + self._world.rank * self._rows
        return slice(start, start + self._rows)

    def _begin(self) -> None:
        """Draw the next order, from all feedback so far."""
        if self.round >= self.rounds:
            raise RunError(
                f"the budget is spent after {self.rounds:,} rounds; got another: loop over "
                "range(loader.rounds)"
            )
        if self._at.scores_due:
            raise RunError(
                f"{name_of(self._config)} asks for scores after this round: go over loader.requested() with "
                "the loss function, without gradients, at the end of every round"
            )
        self._observe()
        self._at.begin(self._sampler.next_order(), self.plan.batch_size)

    def _observe(self) -> None:
        """Pass the losses so far to the sampler; waits for the device."""
        if not self._feedback.empty:
            self._sampler.observe(self._feedback.drain(self._at.steps).feedback)

    @property
    def learns(self) -> bool:
        """Whether the next loss is one to record."""
        return self._scoring is not None or (self._length is not None and torch.is_grad_enabled())

    def record(self, losses: Losses, mixture: Mixture | None) -> Tensor | None:
        """Keep the losses of the batch under way, and return its weights: see `BudgetedLoss`.

        Raises
        ------
        RunError
            If there is no such batch, or it has other samples.
        """
        if self._scoring is not None:
            self._add(self._scoring, losses, mixture, trained=False)
            return None
        if self._due is None:
            raise RunError(
                "a loss must be computed once per batch; got a second one: give the coefficients of mixed "
                "images as mixture=..., and take the plain loss function for others"
            )
        assert self.order is not None
        part, weights = self._part(self._due), self.order.weights
        self._add(self.order.ids[part], losses, mixture, trained=True)
        self._at.trained(self._due)
        self._due = None
        return None if weights is None else place(weights[part].copy(), losses.loss.device)

    def _add(self, ids: NDArray[np.int64], losses: Losses, mixture: Mixture | None, *, trained: bool) -> None:
        if len(losses.loss) != len(ids):
            raise RunError(
                f"a batch must have the loss of each of its {len(ids)} samples; got {len(losses.loss)}: "
                "leave out no samples in collate_fn or the loop"
            )
        if self.needs:
            self._feedback.add(Batch(ids, (), {}, mixture), losses, trained=trained)

    def requested(self) -> Iterator[Any]:
        """Yield batches of the samples that the sampler asks scores of at a round's end; most ask for none.

        Call the loss function on each, under ``torch.no_grad``: what it records isn't trained on.
        """
        if not self._at.scores_due or self.order is None or self.order.score_ids is None:
            return
        asked = self.order.score_ids
        # Ranks share them equally, the first ones again at the end.
        ids = np.concatenate((asked, np.resize(asked, -len(asked) % self._world.size)))
        own = ids[self._world.rank :: self._world.size]
        parts = [own[start : start + self._rows] for start in range(0, len(own), self._rows)]

        def batches() -> Iterator[list[int]]:
            for number, part in enumerate(parts):
                yield [number, *part.tolist()]

        try:
            for number, batch in numbered(self._plain, batches, keep_workers=False):
                self._scoring = parts[number]
                yield batch
        finally:
            self._scoring = None
        self._at.scores_due = False

    def state_dict(self) -> State:
        """Return a copy of all state that the remaining orders depend on: plain values and arrays.

        A batch whose loss hasn't been given counts as still to be trained on. The workers' own random numbers
        (augmentation) are not in it.
        """
        self._observe()
        own = {f"sampler.{key}": value for key, value in self._sampler.state_dict().items()}
        return {**self._at.state_dict(), **own}

    def load_state_dict(self, state: State) -> None:
        """Restore a state: the next iteration yields the rest of its round, or else the next round.

        Raises
        ------
        SamplingError
            If the plan or the sampler's options differ.
        """
        own = {key: value for key, value in state.items() if key.startswith("sampler.")}
        self._sampler.load_state_dict({key.removeprefix("sampler."): value for key, value in own.items()})
        self._feedback.clear()
        self._at, self._length, self._due = Position.of(state), None, None
