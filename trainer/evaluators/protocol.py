"""Protocols of evaluators, and of their configs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import nn

from pipeline import Loader
from pipeline.formats import Converted
from pipeline.targets import TargetKind
from trainer.inference.predict import View
from trainer.metrics import Metric
from trainer.parallel import World

Reads = Literal["outputs", "features"]
"""Part of a network that an evaluator reads: outputs for targets, or the features before its classifier."""


@dataclass(frozen=True, slots=True)
class EvaluatorContext:
    """Context that an evaluator is built in.

    Attributes
    ----------
    dataset
        The set to evaluate on.
    train, test
        Loaders of the training set and of ``dataset``; each rank loads its part of an order.
    view
        Augmentation and stage of the images.
    bf16
        Whether forward passes run under bf16 autocast.
    multiplied
        Labels of the classes whose samples are multiplied; None where none or all are.
    """

    dataset: Converted
    train: Loader
    test: Loader
    view: View
    bf16: bool
    world: World
    multiplied: Collection[int] | None = None


class Evaluator(Protocol):
    """Measures an encoder; each evaluation is a new call of `run`."""

    @property
    def images(self) -> int:
        """Number of images per evaluation, over all ranks."""

    def run(self, encoder: nn.Module, asked: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        """Yield (name, value) of each metric, the same on every rank.

        The encoder stays as it is: its mode, weights and statistics. Statistics are the same on every rank
        when this is called. Its own primary metric is always yielded; others where the data has them. Values
        are finite for a network that has not diverged.

        Parameters
        ----------
        asked
            Whether to stop, checked after each batch; the same on every rank.

        Raises
        ------
        Stopped
            When it was asked to; the evaluation may be made again as if it had not begun.
        """


class EvaluatorConfig(Protocol):
    """A frozen dataclass whose fields are the evaluator's options."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that it measures; the first is its primary metric."""

    @property
    def targets(self) -> Mapping[str, TargetKind]:
        """Kind of each target that test images must have, by name; empty for none."""

    @property
    def reads(self) -> Reads:
        """Whether it measures outputs, which methods without targets don't train, or features."""

    def build(self, context: EvaluatorContext) -> Evaluator:
        """Return the evaluator, before anything is trained."""
