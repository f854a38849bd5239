"""The parts of a run, its position, and whether its weights are finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import torch
from torch import nn

from pipeline import Loader
from pipeline.resolution import Stage
from samplers import Order, Plan
from samplers.service import Service
from trainer.account import Account
from trainer.config import Run
from trainer.data import Data
from trainer.errors import DivergedError
from trainer.evaluators import Evaluator
from trainer.feed import Feed
from trainer.feedback import FeedbackBuffer
from trainer.inference.predict import View
from trainer.methods import Losses, Method
from trainer.metrics import Evaluation
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.sample_table import SampleRecord
from trainer.schedules import Schedule
from trainer.scores.requested import RequestedScores
from trainer.selection.driver import Selector
from trainer.step import Step
from trainer.updates.average import Average
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


@dataclass(frozen=True, slots=True)
class Round:
    """The current round.

    Attributes
    ----------
    number
        Number of rounds before it.
    stage
        Resolution and strength of the augmentation.
    """

    number: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of an optimizer step.

    Attributes
    ----------
    number
        Number of the step in the run, from 1.
    losses
        Losses of its samples, on the device.
    complete
        Whether all candidates that it was selected from are used: a checkpoint may be saved here.
    """

    number: int
    losses: Losses
    complete: bool = False


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
        Fraction of the run's rounds (`Account.covered`) at which ``order`` began.
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
    behind
        Whether feedback is passed on, and a line is written, ``log_every`` steps after it was made: on a GPU,
        which need then not be waited for until it is idle.
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
    behind: bool = False

    @property
    def encoder(self) -> nn.Module:
        """The method's network: what is trained and scored."""
        return self.method.encoder

    @property
    def network(self) -> nn.Module:
        """The network that is evaluated and exported: the encoder, or the average of its weights."""
        return self.method.encoder if self.average is None else self.average.network

    @property
    def precision(self) -> str:
        """Precision of a step's forward pass: bf16, fp16, fp32 or fp64."""
        if self.bf16:
            return "bf16"
        return "fp32" if self.run.precision == "auto" else self.run.precision

    def broken_loss(self, losses: Sequence[float], last: int) -> DivergedError:
        """Return the error of the first loss that isn't finite among those of the steps up to ``last``."""
        first = next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
        step = last - len(losses) + 1 + first
        return self.diverged(f"loss must be finite; got {losses[first]} at step {step:,}")

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
            whose, step = broken or "another rank's", self.account.ledger.steps
            raise self.diverged(f"weights must be finite; {whose} isn't after step {step:,}")

    def diverged(self, what: str) -> DivergedError:
        """Return the error that the loss is no longer finite, with the remedy and the remaining files."""
        kept = self.folder.checkpoint
        last = f"last good checkpoint: {kept}" if kept.exists() else f"record up to there: {self.folder.path}"
        return DivergedError(f"{what}; lower --optimizer.lr or give --precision fp32; {last}")

    def improves(self, found: Evaluation) -> bool:
        """Whether an evaluation is the best so far by the primary metric, and remember it where it is."""
        metric = self.run.metric
        value = found[metric.name]
        better = math.isfinite(value) and (self.best is None or not metric.reaches(self.best, value))
        if better:
            self.best = value
        return better

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
