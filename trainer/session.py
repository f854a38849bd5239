"""A session: a run from round to round, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline import Batch
from pipeline.resolution import Stage
from samplers import Order
from trainer.errors import RunError
from trainer.evaluators.classification import Evaluation, evaluate
from trainer.interrupt import Stop, Stopped, stoppable
from trainer.methods import Losses
from trainer.parts import Parts
from trainer.selection.driver import Ready


@dataclass(frozen=True, slots=True)
class Round:
    """A round under way.

    Attributes
    ----------
    number
        Rounds that ended before it.
    order
        Which samples it loads, in which order.
    stage
        Resolution and strength of the augmentation.
    """

    number: int
    order: Order
    stage: Stage


@dataclass(frozen=True, slots=True)
class StepResult:
    """An optimizer step that was made.

    Attributes
    ----------
    number
        Steps of the run up to it, itself among them.
    losses
        Of its samples, on the device.
    complete
        Whether nothing is left of the candidates that it was selected from: a checkpoint may be saved here.
    """

    number: int
    losses: Losses
    complete: bool = False


@dataclass(slots=True)
class Session(Parts):
    """A run under way, for the training loop and any other.

    A context manager that closes what it has open. See `trainer/README.md` for a loop of one's own.
    """

    def rounds(self) -> Iterator[Round]:
        """Begin round after round until the budget is spent.

        The first is the one that was under way where the session goes on from a checkpoint. A round that the
        caller leaves before its `finish` is finished before the next.

        Raises
        ------
        RunError
            When orders end before the budget: a selection kept far fewer samples than it promised.
        """
        while self.goes_on():
            if self.order is None:
                self.begin_round()
            assert self.order is not None
            current = Round(self.ledger.rounds, self.order, self.stage)
            yield current
            if self.order is current.order:
                self.finish(current)

    def begin_round(self) -> None:
        """Take the sampler's next order, and settle what its images are to be.

        Raises
        ------
        RunError
            When orders end before the budget: a selection kept far fewer samples than it promised.
        """
        if self.ledger.rounds >= self.sampler.rounds:
            raise RunError(
                f"a selection must keep enough of what it loads to spend the budget; after "
                f"{self.ledger.rounds:,} "
                f"rounds {self.account.progress:.0%} of it are spent: raise --selection.keep"
            )
        with self.ledger.phase("sampler"):
            self.order = self.sampler.next_order()
        self.stage = self.run.resolution.at(self.account.progress, self.full)
        self.done = 0

    def steps(self, current: Round) -> Iterator[StepResult]:
        """Train on what is left of a round, one optimizer step per item, until its end or the budget's.

        A step loads, augments, selects, sets the rates, updates the weights, is counted and keeps its
        feedback, which goes to the sampler every ``log_every`` steps and where the next order depends on it.
        A checkpoint may be saved after a step that is ``complete``.

        Raises
        ------
        RunError
            When the round isn't the one under way.
        DivergedError
            When a loss is not a finite number.
        """
        self._check_under_way(current)
        if not self.goes_on():
            # A step may cost more at this round's resolution than at that of the round before.
            return
        selector = self.selector
        for raw in self.candidates():
            made: StepResult | None = None
            for ready in selector.ready(raw, self.stage, self.selects):
                if made is not None:
                    yield made
                self._set_rates(ready)
                made = self.train(ready)
                if made.number % self.run.log_every == 0:
                    self.collect()
                if not self.goes_on():
                    break
            self.done += 1
            if self._asks_ahead:
                self.collect()
            if made is not None:
                yield replace(made, complete=True)
            if not self.goes_on():
                return

    def finish(self, current: Round, stop: Stop | None = None) -> None:
        """End a round: the sampler gets the scores that it asks for, the selection draws its conclusions.

        Raises
        ------
        RunError
            When the round isn't the one under way.
        Stopped
            When ``stop`` was asked for while scores were made; nothing has changed then.
        """
        self._check_under_way(current)
        self.collect()
        ids = current.order.score_ids
        if ids is not None and self.affords_scores(len(ids)):
            try:
                with stoppable(stop, self.world) as asked:
                    self.scores.make(ids, asked)
            except Stopped:
                self.feedback.clear()
                raise
            self.collect()
        self.selector.selection.end_round()
        self.order = None
        self.ledger.rounds += 1
        due = self.ledger.rounds % self.run.evaluate_every == 0 or not self.goes_on()
        # A selection that keeps by chance may have kept too few of a round's samples for a step.
        self.unevaluated = due and self.ledger.steps > self.evaluated

    def evaluate(self, stop: Stop | None = None) -> Evaluation:
        """Evaluate the network on the test set.

        Raises
        ------
        DivergedError
            When the weights, or the loss after the last step, are no finite numbers.
        Stopped
            When ``stop`` was asked for; nothing has changed then.
        """
        self.check_weights()
        with self.ledger.phase("evaluate"), stoppable(stop, self.world) as asked:
            result = evaluate(
                self.model,
                self.test_loader,
                self.evaluation_view,
                classes=len(self.data.test.card.classes),
                bf16=self.bf16,
                world=self.world,
                asked=asked,
            )
        if not (math.isfinite(result.loss) or self.goes_on()):
            raise self.diverged(f"loss must be finite; got {result.loss} in the last evaluation")
        self.ledger.evaluated += result.samples
        self.unevaluated, self.evaluated = False, self.ledger.steps
        return result

    def candidates(self) -> Iterator[Batch]:
        """Return what is left of the order under way, batch by batch, as the selector takes it."""
        assert self.order is not None
        stage = self.selector.stage(self.stage)
        return self.loader.batches(self.order, self.done, augment=self.selector.chain, stage=stage)

    def _set_rates(self, ready: Ready) -> None:
        """Set each group's learning rate, and its momentum where schedule and optimizer have one."""
        assert self.order is not None
        scored, key = ready.choice is not None, self.run.optimizer.momentum_key
        progress = self.account.schedule_progress(self.cost, self.scoring_cost, scored)
        momentum = self.schedule.momentum(progress)
        for group in self.step.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.schedule.factor(progress) * self.order.lr_scale
            if momentum is not None and key is not None:
                group[key] = momentum

    def train(self, ready: Ready) -> StepResult:
        """Make a step with the rates that are set, and count it."""
        selection, progress = self.selector.selection, self.account.progress
        weighting = self.selector.weighting
        if weighting is not None and not selection.on(self.ledger.steps, progress):
            weighting = None
        losses = self.step(ready.batch, weighting)
        if ready.mixture is not None:
            selection.observe(losses, ready.mixture, ready.choice)
        places = None if ready.choice is None else ready.choice.places
        self.feedback.add(ready.batch, losses, candidates=ready.candidates, places=places)
        self.ledger.steps += 1
        self.account.charge("trained", self.run.batch_size, self.pixels)
        return StepResult(self.ledger.steps, losses)

    @property
    def _asks_ahead(self) -> bool:
        """Whether the sampler is to draw its next order from the feedback up to the step just made.

        Feedback is then collected whatever the log's rhythm, so that orders depend on steps alone.
        """
        if self.run.lead == 0 or self.order is None:
            return False
        steps = len(self.order.ids) // self.loader.batch_size
        return self.done == max(1, steps - self.run.lead)

    def _check_under_way(self, current: Round) -> None:
        if current.order is not self.order:
            raise RunError(f"a round must be the one under way; round {current.number + 1:,} has ended")
