"""A session: iterates over a run's rounds and steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from pipeline import RawBatch
from trainer.account import Ledger
from trainer.errors import RunError
from trainer.evaluation import evaluate
from trainer.feed import next_batches
from trainer.feedback import SentFeedback
from trainer.interrupt import Stop, Stopped, stoppable
from trainer.metrics import Evaluation
from trainer.parts import Parts, Round, StepResult
from trainer.selection.driver import Ready
from trainer.slots import SLOTS
from trainer.step import set_rates


@dataclass(slots=True)
class Session(Parts):
    """A run in progress, for the training loop and any other loop.

    A context manager that closes its readers and services. See `trainer/README.md` for loops of your own.
    """

    _current: Round | None = field(init=False, default=None)
    _sent: deque[tuple[SentFeedback, float | None]] = field(init=False, default_factory=deque)

    def __repr__(self) -> str:
        of = "" if self.account.steps is None else f" of {self.account.steps:,}"
        return (
            f"Session({SLOTS['model'].shown(self.run)} on {self.data.train.card.name}: step "
            f"{self.ledger.steps:,}{of}, {self.ledger.rounds} rounds, {self.account.progress:.1%} of the "
            f"budget, {self.device} {self.precision}, {self.folder.path})"
        )

    @property
    def ledger(self) -> Ledger:
        """The account's counts and times."""
        return self.account.ledger

    @property
    def pixels(self) -> int:
        """Image size in the current round."""
        return self.full if self.stage.pixels is None else self.stage.pixels

    @property
    def cost(self) -> float:
        """Cost charged for a step of the current round, without scoring."""
        return self.account.step_cost(self.pixels)

    @property
    def scoring_cost(self) -> float:
        """Cost charged for scoring the next candidates; 0 if the selection is off."""
        selector, progress = self.selector, self.account.progress
        if not selector.part.scores or not selector.on(progress):
            return 0.0
        pixels = selector.scoring_pixels(self.stage)
        return self.account.pass_cost("scored", self.loader.batch_size * selector.passes, pixels)

    @property
    def selects(self) -> bool:
        """Whether to select from the next candidates: not if the budget then affords no step."""
        selector, account = self.selector, self.account
        on = selector.loads_more and selector.on(account.progress)
        return on and account.affords(self.cost + self.scoring_cost)

    def goes_on(self) -> bool:
        """Whether the budget affords another step."""
        return self.account.affords(self.cost)

    def affords_scores(self, samples: int) -> bool:
        """Whether the budget affords scores that a sampler requests, and a step after them."""
        return self.account.affords(self.scores.cost(samples) + self.cost)

    def rounds(self) -> Iterator[Round]:
        """Yield rounds until the budget is spent.

        A round trains on as many samples with a selection as without: on one order of the sampler's, or on
        as many as hold the candidates for it. The first is the one that was under way where the session
        resumes from a checkpoint. A round that the caller leaves before its `finish` is finished before the
        next.

        Raises
        ------
        RunError
            When orders end before the budget: a selection kept far fewer samples than it promised.
        """
        while self.goes_on():
            current = self.begin_round() if self.order is None else self._under_way()
            yield current
            if self._current is current:
                self.finish(current)

    def begin_round(self) -> Round:
        """Return the next round, with its first order and its resolution.

        Raises
        ------
        RunError
            When orders end before the budget: a selection kept far fewer samples than it promised.
        """
        self._begin_order()
        self.stage = self.run.resolution.at(self.account.progress, self.full)
        self._current = None
        return self._under_way()

    def steps(self, current: Round, stop: Stop | None = None) -> Iterator[StepResult]:
        """Train on the rest of a round, yielding each optimizer step, until its end or the budget's.

        A step loads, augments, selects, sets the rates, updates the weights, is counted and keeps its
        feedback, which goes to the sampler every ``log_every`` steps and where the next order depends on it.
        A checkpoint may be saved after a step that is ``complete``.

        Raises
        ------
        RunError
            When the round isn't the current one, or orders end before the budget.
        DivergedError
            When a loss is not a finite number.
        Stopped
            When ``stop`` was asked for while scores were made between two orders; nothing has changed then.
        """
        self._check_under_way(current)
        # A step may cost more at this round's resolution than at the previous round's.
        while self.goes_on():
            yield from self._steps_of_order()
            if not self.goes_on() or self._is_full():
                return
            self._end_order(stop)
            self._begin_order()

    def _begin_order(self) -> None:
        """Take the sampler's next order."""
        if self.orders >= self.sampler.rounds:
            raise RunError(
                f"a selection must keep enough of what it loads to spend the budget; after {self.orders:,} "
                f"orders {self.account.progress:.0%} of it are spent: raise --selection.keep"
            )
        with self.ledger.phase("sampler"):
            self.order = self.sampler.next_order()
        self.done, self.began = 0, self.account.covered

    def _steps_of_order(self) -> Iterator[StepResult]:
        """Train on the rest of the current order."""
        for raw in self.candidates():
            made: StepResult | None = None
            for ready in self.ready(raw, self.selects):
                if made is not None:
                    yield made
                self._set_rates(ready)
                made = self.train(ready)
                if made.number % self.run.log_every == 0:
                    self.collect(behind=self.behind)
                if not self.goes_on():
                    break
            self.done += 1
            if self._asks_ahead:
                self.collect()
            if made is not None:
                yield replace(made, complete=True)
            if not self.goes_on():
                return

    def _is_full(self) -> bool:
        """Whether the round ends with the current order.

        Without a selection each order is a round. With one, a round ends with the order nearest to its
        fraction of the budget, and the last round with the budget.
        """
        if not self.selector.loads_more:
            return True
        covered, fraction = self.account.covered, (self.ledger.rounds + 1) / self.run_rounds
        return fraction < 1 and covered + (covered - self.began) / 2 >= fraction

    def _end_order(self, stop: Stop | None) -> None:
        """Pass the order's last feedback, and the requested scores, to the sampler."""
        self.collect()
        ids = None if self.order is None else self.order.score_ids
        if ids is not None and self.affords_scores(len(ids)):
            try:
                with stoppable(stop, self.world) as asked:
                    self.scores.make(ids, asked)
            except Stopped:
                self.feedback.clear()
                raise
            self.collect()
        self.order = None
        self.orders += 1

    def finish(self, current: Round, stop: Stop | None = None) -> None:
        """End-of-round hook: score requested samples, then update the selection's state.

        Raises
        ------
        RunError
            When the round isn't the current one.
        Stopped
            When ``stop`` was asked for while scores were made; nothing has changed then.
        """
        self._check_under_way(current)
        self._end_order(stop)
        if self.selector.works:
            self.selector.selection.end_round()
        self._current = None
        self.ledger.rounds += 1
        due = self.ledger.rounds % self.run.evaluate_every == 0 and self.account.affords_evaluation(self.cost)
        due = due or not self.goes_on()
        # A random selection may have kept too few of a round's samples for a step.
        self.unevaluated = due and self.ledger.steps > self.evaluated

    def evaluate(self, stop: Stop | None = None) -> Evaluation:
        """Measure the network, or its average, on the test set; see `Run.metrics` for what by.

        Returns
        -------
        Evaluation
            The metrics by name; ``run.metric.name`` is the primary one's.

        Raises
        ------
        DivergedError
            When the weights, or a metric after the last step, are no finite numbers.
        Stopped
            When ``stop`` was asked for; nothing has changed then.
        """
        found = evaluate(self, stop, last=not self.goes_on())
        self.unevaluated, self.evaluated = False, self.ledger.steps
        return found

    def candidates(self) -> Iterator[RawBatch]:
        """Return the rest of the current order, batch by batch, as it is trained on or selected from."""
        assert self.order is not None
        selector = self.selector
        stage = selector.stage(self.stage) if selector.loads_more else self.stage
        with self.ledger.phase("wait"):
            batches = self.loader.raw_batches(self.order, self.done, augment=selector.views, stage=stage)
        return self.ledger.through("wait", batches)

    def ready(self, raw: RawBatch, select: bool) -> Iterable[Ready]:
        """Return the batches to train on that a loaded one makes: itself, or what is selected from it."""
        if self.selector.loads_more:
            return self.selector.ready(raw, self.stage, select)
        with self.ledger.phase("augment"):
            return (Ready(raw.augment()),)

    def _set_rates(self, ready: Ready) -> None:
        """Set each group's learning rate, and its momentum if schedule and optimizer have one."""
        assert self.order is not None
        self.account.look()
        scored = ready.choice is not None
        progress = self.account.schedule_progress(self.cost, self.scoring_cost, scored)
        key = self.run.optimizer.momentum_key
        set_rates(self.step.optimizer, self.schedule, progress, self.order.lr_scale, key)

    def train(self, ready: Ready) -> StepResult:
        """Make a step at the current rates, and count it."""
        selection, progress = self.selector.selection, self.account.progress
        weighting = self.selector.weighting
        if weighting is not None and not selection.on(self.ledger.steps, progress):
            weighting = None
        self.account.charge("trained", self.run.batch_size, self.pixels)
        streams = None
        if self.feeds:
            streams = next_batches(self.feeds, replace(self.stage, pixels=self.pixels), self.ledger)
        losses = self.step(ready.batch, weighting, streams, progress=self.account.progress)
        with self.ledger.phase("feedback"):
            if self.selector.loads_more:
                selection.observe(losses, ready.batch, ready.choice)
            self.feedback.add(ready.batch, losses)
        self.ledger.steps += 1
        return StepResult(self.ledger.steps, losses)

    def collect(self, *, behind: bool = False) -> None:
        """Pass feedback from the device to the sampler, the sample table and the next line of steps.jsonl.

        Parameters
        ----------
        behind
            Only begin to copy what there is since the last call, and pass on what that one left: the device
            always has work while the host waits for it. Orders don't depend on when feedback arrives, as all
            of it is there before the next one is drawn.

        Raises
        ------
        DivergedError
            When a loss is not a finite number.
        """
        if not self.feedback.empty:
            # The steps that are still on the device have phases of their own.
            if behind:
                self.ledger.settle_behind()
            else:
                self.ledger.settle()
            with self.ledger.phase("feedback"):
                # For samplers whose own count would be wrong.
                account = self.account
                progress = account.progress if self.selector.loads_more else account.reported_progress
                self._sent.append((self.feedback.send(self.ledger.steps), progress))
        while len(self._sent) > behind:
            self._pass_on(*self._sent.popleft())

    def _pass_on(self, sent: SentFeedback, progress: float | None) -> None:
        """Pass on the feedback of some steps."""
        with self.ledger.phase("feedback"):
            collected = sent.collect()
        if not all(map(math.isfinite, collected.losses)):
            raise self.broken_loss(collected.losses, collected.feedback.step)
        with self.ledger.phase("feedback"):
            self.sampler.observe(replace(collected.feedback, progress=progress))
            self.samples.observe(collected.feedback)
            self.samples.count(collected.trained)
        self.line.losses += collected.losses
        self.line.accuracies += collected.accuracies

    @property
    def _asks_ahead(self) -> bool:
        """Whether the sampler draws its next order from the feedback up to the last step.

        Feedback is then collected independently of logging, so that orders depend only on steps.
        """
        if self.run.lead == 0 or self.order is None:
            return False
        steps = len(self.order.ids) // self.loader.batch_size
        return self.done == max(1, steps - self.run.lead)

    def _under_way(self) -> Round:
        """Return the current round: after a restore, the one in which the checkpoint was saved."""
        if self._current is None:
            self._current = Round(self.ledger.rounds, self.stage)
        return self._current

    def _check_under_way(self, current: Round) -> None:
        if current is not self._current:
            raise RunError(f"a round must be the one under way; round {current.number + 1:,} has ended")
