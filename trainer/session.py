"""A session: the parts of one run, the place it has reached, and its state as one checkpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn

from pipeline import Loader
from pipeline.loading.loader import LoaderTimes
from pipeline.resolution import Stage
from samplers import Order, Plan, ScoringPart
from samplers.service import Service
from trainer.account import Account
from trainer.config import Run
from trainer.data import Data
from trainer.errors import DivergedError, RunError
from trainer.feedback import FeedbackBuffer
from trainer.inference.predict import View
from trainer.ledger import Ledger
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.sample_table import SampleRecord
from trainer.schedules import Schedule
from trainer.selection.driver import Ready, Selector
from trainer.step import Step


@dataclass(slots=True)
class Line:
    """What the next line of steps.jsonl is to be about.

    Attributes
    ----------
    step, seconds
        Where the last line left off: steps made, and the training clock.
    losses
        Of the steps since then, as far as they have been collected.
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Session:
    """Everything that the training loop uses, and the place it has reached.

    Attributes
    ----------
    plan
        What orders are drawn by; it holds more than the budget where a selection loads more than it trains
        on.
    full
        Pixels of the shorter side at full resolution.
    view, evaluation_view
        How the training set is scored, and the test set evaluated.
    order
        The round under way; None before the first and between rounds.
    stage
        Resolution and strength of the augmentation in that round.
    done
        Batches of ``order`` that have been used.
    unevaluated
        Whether the round that has just ended is still to be evaluated.
    evaluated
        Steps made by the last evaluation.
    line
        What steps.jsonl doesn't hold yet.
    inputs
        Digests of what the run reads, as it began (see `trainer.inputs`).
    """

    run: Run
    folder: RunFolder
    data: Data
    world: World
    device: torch.device
    bf16: bool
    account: Account
    plan: Plan
    sampler: Service
    loader: Loader
    test_loader: Loader
    full: int
    view: View
    evaluation_view: View
    model: nn.Module
    selector: Selector
    step: Step
    schedule: Schedule
    feedback: FeedbackBuffer
    samples: SampleRecord
    order: Order | None = None
    stage: Stage = field(default_factory=Stage)
    done: int = 0
    unevaluated: bool = False
    evaluated: int = 0
    line: Line = field(default_factory=Line)
    inputs: dict[str, str | None] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        """The account's counts and times."""
        return self.account.ledger

    @property
    def precision(self) -> str:
        """What the forward pass computes in: bf16, fp32 or fp64."""
        if self.bf16:
            return "bf16"
        return "fp64" if self.run.precision == "fp64" else "fp32"

    @property
    def pixels(self) -> int:
        """Pixels of the shorter side in the round under way."""
        return self.full if self.stage.pixels is None else self.stage.pixels

    @property
    def cost(self) -> float:
        """What a step of the round under way is charged, without scoring."""
        return self.account.step_cost(self.pixels)

    @property
    def scoring_cost(self) -> float:
        """What scoring the next candidates is charged, where the selection is to be on."""
        selector, progress = self.selector, self.account.progress
        if not selector.part.scores or not selector.on(progress):
            return 0.0
        pixels = selector.scoring_pixels(self.stage)
        return self.account.pass_cost("scored", self.loader.batch_size, pixels)

    @property
    def selects(self) -> bool:
        """Whether to select from the next candidates: not where scoring them would leave no step's worth."""
        on = self.selector.on(self.account.progress)
        return on and self.account.affords(self.cost + self.scoring_cost)

    def goes_on(self) -> bool:
        """Whether the budget affords another step."""
        return self.account.affords(self.cost)

    def affords_scores(self, samples: int) -> bool:
        """Whether the budget affords scores that a sampler asks for, and a step after them."""
        kind: Literal["scored", "gradient"] = "gradient" if asked_of(self) == "gradient" else "scored"
        cost = self.account.pass_cost(kind, samples, self.full)
        return self.account.affords(cost + self.cost)

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

    def train(self, ready: Ready) -> None:
        """Make a step, and count it."""
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

    def collect(self) -> list[float]:
        """Bring feedback from the device to the sampler and the record.

        Returns
        -------
        list of float
            Each step's mean loss since the last call, over all ranks.

        Raises
        ------
        DivergedError
            When a loss is not a finite number.
        """
        times, self.loader.times = self.loader.times, LoaderTimes()
        self.ledger.add("wait", times.wait)
        self.ledger.add("copy", times.copy)
        if self.feedback.empty:
            return []
        with self.ledger.phase("feedback"):
            heard = self.feedback.drain(self.ledger.steps)
        self._check_finite(heard.losses)
        with self.ledger.phase("feedback"):
            self.sampler.observe(replace(heard.feedback, progress=self._told_progress))
            self.samples.observe(heard.feedback)
            self.samples.count(heard.trained)
        return heard.losses

    @property
    def _told_progress(self) -> float | None:
        """What a sampler must be told of the run's progress, where it can't count for itself."""
        return self.account.progress if self.selector.loads_more else self.account.reported_progress

    def _check_finite(self, losses: Sequence[float]) -> None:
        broken = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        if not broken:
            return
        step = self.ledger.steps - len(losses) + 1 + broken[0]
        raise self.diverged(f"loss must be finite; got {losses[broken[0]]} at step {step:,}")

    def check_weights(self) -> None:
        """Look whether all weights and statistics are finite, on every rank.

        A step's loss is that of the weights before it, so the last step's outcome shows in no loss, nor does
        that of the step before a checkpoint.

        Raises
        ------
        DivergedError
            When one isn't.
        """
        state = self.model.state_dict()
        finite = {name: torch.isfinite(value).all() for name, value in state.items()}
        sound = torch.stack(list(finite.values())).all().item()
        if self.world.any(not sound):
            broken = next((name for name, all_finite in finite.items() if not all_finite), "another rank's")
            raise self.diverged(f"weights must be finite; {broken} isn't after step {self.ledger.steps:,}")

    def diverged(self, what: str) -> DivergedError:
        """Say that the loss is no longer a finite number, what to do, and what is left of the run."""
        kept = self.folder.checkpoint
        last = f"last good checkpoint: {kept}" if kept.exists() else f"record up to there: {self.folder.path}"
        return DivergedError(f"{what}; lower --optimizer.lr or give --precision fp32; {last}")

    def fingerprint(self) -> str:
        """Digest of all weights and statistics, to tell whether two runs ended alike."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def asks_ahead(self) -> bool:
        """Whether the sampler is to draw its next order from the feedback up to the step just made.

        Feedback is then collected whatever the log's rhythm, so that orders depend on steps alone.
        """
        if self.run.lead == 0 or self.order is None:
            return False
        steps = len(self.order.ids) // self.loader.batch_size
        return self.done == max(1, steps - self.run.lead)

    def close(self) -> None:
        """Let go of readers, the sampler's service and their threads."""
        self.sampler.close()
        self.loader.close()
        self.test_loader.close()


def asked_of(session: Session) -> Literal["forward", "gradient"] | None:
    """What scoring a sample takes where the run's sampler asks for it; None for samplers that don't."""
    sampler = session.run.sampler
    return sampler.asks if isinstance(sampler, ScoringPart) else None
