"""The parts of a run and its position, with derived quantities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import torch
from torch import nn

from pipeline import Loader
from pipeline.loading.loader import LoaderTimes
from pipeline.resolution import Stage
from samplers import Order, Plan
from samplers.service import Service
from trainer.account import Account
from trainer.average import Average
from trainer.config import Run
from trainer.data import Data
from trainer.errors import DivergedError
from trainer.evaluators import Evaluator
from trainer.feed import Feed
from trainer.feedback import FeedbackBuffer
from trainer.inference.predict import View
from trainer.ledger import Ledger
from trainer.methods import Method
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.sample_table import SampleRecord
from trainer.schedules import Schedule
from trainer.score import RequestedScores
from trainer.selection.driver import Selector
from trainer.step import Step
from trainer.weights import fingerprint, not_finite


@dataclass(slots=True)
class Line:
    """Accumulated content of the next line of steps.jsonl.

    Attributes
    ----------
    step, seconds
        Steps made and the training clock at the last line.
    losses, accuracies
        Losses, and fractions of images classified correctly, of the steps since then, as far as collected; no
        accuracies for methods without classes.
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Parts:
    """All parts of a run, and its position.

    Attributes
    ----------
    plan
        The sampler's plan; it has more samples than the budget if a selection loads more than it trains on.
    run_rounds
        Number of rounds of the whole run, by trained samples.
    full
        Pixels of the shorter side at full resolution.
    view
        Augmentation and stage for scoring the training set.
    evaluators
        The evaluators, which measure the network on the test set.
    scores
        Computes the scores that the sampler requests.
    feeds
        Further streams that the method takes a batch of at every step.
    average
        Average of the encoder's weights; None where none is kept.
    order
        The current order; None before the first and between rounds.
    orders
        Number of orders that have ended.
    stage
        Resolution and strength of the augmentation in the current round.
    done
        Number of batches of ``order`` that have been used.
    began
        Progress of the run at which ``order`` began.
    unevaluated
        Whether the last round hasn't been evaluated yet.
    evaluated
        Steps made by the last evaluation.
    best
        Value of the primary metric in the best evaluation so far; None before the first.
    line
        Content of the next line of steps.jsonl.
    inputs
        Digests of the files that the run reads, from its beginning (see `trainer.inputs`).
    """

    run: Run
    folder: RunFolder
    data: Data
    world: World
    device: torch.device
    bf16: bool
    account: Account
    plan: Plan
    run_rounds: int
    sampler: Service
    loader: Loader
    test_loader: Loader
    full: int
    view: View
    evaluators: tuple[Evaluator, ...]
    method: Method
    selector: Selector
    step: Step
    schedule: Schedule
    feedback: FeedbackBuffer
    scores: RequestedScores
    feeds: tuple[Feed, ...]
    samples: SampleRecord
    average: Average | None = None
    order: Order | None = None
    orders: int = 0
    stage: Stage = field(default_factory=Stage)
    done: int = 0
    began: float = 0.0
    unevaluated: bool = False
    evaluated: int = 0
    best: float | None = None
    line: Line = field(default_factory=Line)
    inputs: dict[str, str | None] = field(default_factory=dict)

    @property
    def encoder(self) -> nn.Module:
        """The method's network: what is trained and scored."""
        return self.method.encoder

    @property
    def network(self) -> nn.Module:
        """The network that is evaluated and exported: the encoder, or the average of its weights."""
        return self.method.encoder if self.average is None else self.average.network

    @property
    def ledger(self) -> Ledger:
        """The account's counts and times."""
        return self.account.ledger

    @property
    def precision(self) -> str:
        """Precision of a step's forward pass: bf16, fp16, fp32 or fp64."""
        if self.bf16:
            return "bf16"
        return "fp32" if self.run.precision == "auto" else self.run.precision

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
        return self.account.pass_cost("scored", self.loader.batch_size, pixels)

    @property
    def selects(self) -> bool:
        """Whether to select from the next candidates: not if the budget then affords no step."""
        on = self.selector.on(self.account.progress)
        return on and self.account.affords(self.cost + self.scoring_cost)

    def goes_on(self) -> bool:
        """Whether the budget affords another step."""
        return self.account.affords(self.cost)

    def affords_scores(self, samples: int) -> bool:
        """Whether the budget affords scores that a sampler requests, and a step after them."""
        return self.account.affords(self.scores.cost(samples) + self.cost)

    def collect(self) -> None:
        """Pass feedback from the device to the sampler, the sample table and the next line of steps.jsonl.

        Raises
        ------
        DivergedError
            When a loss is not a finite number.
        """
        for loader in (self.loader, *(feed.loader for feed in self.feeds)):
            times, loader.times = loader.times, LoaderTimes()
            self.ledger.add("wait", times.wait)
            self.ledger.add("copy", times.copy)
        if self.feedback.empty:
            return
        with self.ledger.phase("feedback"):
            collected = self.feedback.drain(self.ledger.steps)
        self._check_finite(collected.losses)
        with self.ledger.phase("feedback"):
            self.sampler.observe(replace(collected.feedback, progress=self._reported_progress))
            self.samples.observe(collected.feedback)
            self.samples.count(collected.trained)
        self.line.losses += collected.losses
        self.line.accuracies += collected.accuracies

    @property
    def _reported_progress(self) -> float | None:
        """Fraction of the run completed, for samplers whose own count would be wrong; else None."""
        return self.account.progress if self.selector.loads_more else self.account.reported_progress

    def _check_finite(self, losses: Sequence[float]) -> None:
        broken = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        if not broken:
            return
        step = self.ledger.steps - len(losses) + 1 + broken[0]
        raise self.diverged(f"loss must be finite; got {losses[broken[0]]} at step {step:,}")

    def check_weights(self) -> None:
        """Check that all weights and statistics are finite, on every rank.

        A step's loss is measured before its update, so the last step's weights appear in no loss, nor do
        those of the step before a checkpoint.

        Raises
        ------
        DivergedError
            When one isn't.
        """
        broken = not_finite(self.method)
        if self.world.any(broken is not None):
            whose = broken or "another rank's"
            raise self.diverged(f"weights must be finite; {whose} isn't after step {self.ledger.steps:,}")

    def diverged(self, what: str) -> DivergedError:
        """Return the error that the loss is no longer finite, with the remedy and the remaining files."""
        kept = self.folder.checkpoint
        last = f"last good checkpoint: {kept}" if kept.exists() else f"record up to there: {self.folder.path}"
        return DivergedError(f"{what}; lower --optimizer.lr or give --precision fp32; {last}")

    def fingerprint(self) -> str:
        """Digest of all weights and statistics, to tell whether two runs ended alike."""
        return fingerprint(self.method, None if self.average is None else self.average.network)

    def close(self) -> None:
        """Close readers and the sampler's service, with their threads."""
        self.sampler.close()
        self.loader.close()
        self.test_loader.close()
        for feed in self.feeds:
            feed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
