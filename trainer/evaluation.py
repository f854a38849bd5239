"""Evaluation of a run: builds its evaluators for its data, and runs them in sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from pipeline.formats import Converted
from pipeline.targets import LABEL, TargetKind
from trainer.errors import RunError
from trainer.evaluators import EVALUATORS, Evaluator, EvaluatorConfig, EvaluatorContext
from trainer.interrupt import Stop, stoppable
from trainer.methods import Method
from trainer.metrics import Evaluation
from trainer.parallel import World
from trainer.parts import Parts


def build_evaluators(configs: Sequence[EvaluatorConfig], context: EvaluatorContext) -> tuple[Evaluator, ...]:
    """Return the evaluators of a run, before anything is trained.

    Raises
    ------
    RunError
        When one needs targets that the test images lack; the line names the evaluators that fit.
    """
    there = targets_of(context.dataset)
    for config in configs:
        lacking = _lacking(config, there)
        if lacking:
            name = next(name for name, cls in EVALUATORS.items() if cls is type(config))
            # The table holds classes; an evaluator's needs don't depend on its options.
            fitting = [other for other, cls in EVALUATORS.items() if not _lacking(cls(), there)]
            remedy = (
                f"take --evaluator {' or '.join(fitting)}" if fitting else "give --test-data a set that has"
            )
            kinds = ", ".join(f"{config.targets[target]}" for target in lacking)
            raise RunError(
                f"evaluator {name} needs images with a {' and a '.join(lacking)} each; "
                f"{context.dataset.path} has none of kind {kinds}: {remedy}"
            )
    return tuple(config.build(context) for config in configs)


def targets_of(dataset: Converted) -> Mapping[str, TargetKind]:
    """Return the kind of each target that a set's images have, by its name."""
    return {} if dataset.card.target == "none" else {LABEL: dataset.card.target}


def _lacking(config: EvaluatorConfig, there: Mapping[str, TargetKind]) -> list[str]:
    return [target for target, kind in config.targets.items() if there.get(target) != kind]


def evaluate(parts: Parts, stop: Stop | None, *, last: bool) -> Evaluation:
    """Measure a run's network, or its average, on the test set, as a phase of its ledger.

    Parameters
    ----------
    last
        Whether the run has made its last step, so that no metric may be other than finite.

    Raises
    ------
    DivergedError
        When the weights, or a metric after the last step, are no finite numbers.
    Stopped
        When ``stop`` was asked for; nothing has changed then.
    """
    ledger, world = parts.account.ledger, parts.world
    with ledger.phase("evaluate"), stoppable(stop, world) as asked:
        parts.check_weights()
        world.share_buffers(parts.encoder)
        if parts.average is not None:
            world.share_buffers(parts.average.network)
        found = {**measure(parts.evaluators, parts.network, asked), **_measured(parts.method, world)}
    broken = next((name for name, value in found.items() if not math.isfinite(value)), None)
    if broken is not None and last:
        raise parts.diverged(f"{broken} must be finite; got {found[broken]} in the last evaluation")
    ledger.evaluated += sum(evaluator.images for evaluator in parts.evaluators)
    return found


def measure(evaluators: Sequence[Evaluator], encoder: nn.Module, asked: Callable[[], bool]) -> Evaluation:
    """Return the metrics of ``encoder``: see ``Evaluator.run``."""
    return {name: value for evaluator in evaluators for name, value in evaluator.run(encoder, asked)}


def _measured(method: Method, world: World) -> Evaluation:
    """Return what a method knows of its last steps, by the names of its metrics: the mean over ranks."""
    found = method.measured()
    if not found:
        return {}
    sums = world.sum(torch.stack([value.detach().double() for value in found.values()]))
    return dict(zip(found, (sums / world.size).tolist(), strict=True))
