"""Compatibility of a run's parts and data: statistics needed and offered, streams, targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pipeline.formats import Converted
from pipeline.targets import LABEL, TargetKind, TargetSpec
from samplers import LabelReading, SamplerConfig, ScoringConfig
from samplers.protocol import has_whole_epochs
from trainer.errors import RunError
from trainer.evaluators import EvaluatorConfig
from trainer.methods import MethodConfig, Offer
from trainer.selection import OwnNetwork, SelectionConfig
from trainer.settings.streams import Stream
from trainer.slots import SLOTS


class _Parts(Protocol):
    """The parts of a run that must be compatible."""

    @property
    def method(self) -> MethodConfig: ...
    @property
    def sampler(self) -> SamplerConfig: ...
    @property
    def selection(self) -> SelectionConfig: ...
    @property
    def evaluator(self) -> tuple[EvaluatorConfig, ...]: ...
    @property
    def streams(self) -> tuple[Stream, ...]: ...
    @property
    def oscillation(self) -> float: ...


def check(run: _Parts) -> None:
    """Refuse parts that the run's method can't train with.

    Raises
    ------
    RunError
        With the names of the methods that offer it, and of the parts that don't need it.
    """
    _check_streams(run)
    _check(run, "sampler", run.sampler, _sampler_needs)
    _check(run, "selection", run.selection, _selection_needs)
    _check_own_network(run)
    _check_evaluators(run)
    _check_oscillation(run)


def check_metric(method: MethodConfig, metric: str, needs: tuple[Offer, ...]) -> None:
    """Refuse scores of a network whose method doesn't offer the statistics that they are computed from.

    Raises
    ------
    RunError
        With the names of the methods that offer it.
    """
    missing = _missing(method, needs)
    if missing:
        raise RunError(f"{_lack(f'metric {metric}', missing, method)} a network of {_offering(needs)}")


def _check_streams(run: _Parts) -> None:
    """Refuse streams other than the method's."""
    name, wanted = SLOTS["method"].part_name(run.method), set(run.method.streams)
    given = {stream.name for stream in run.streams}
    for lacking in sorted(wanted - given):
        raise RunError(
            f"method {name} takes a batch of {lacking} images at every step, and no stream has that name: "
            f"add a table [streams.{lacking}] with data = ... to the recipe"
        )
    for unknown in sorted(given - wanted):
        raise RunError(
            f"a stream must be one that the method takes; {name} takes "
            f"{', '.join(sorted(wanted)) or 'none'}, and got {unknown}: remove [streams.{unknown}], or take "
            "another --method"
        )


def _check_oscillation(run: _Parts) -> None:
    """Refuse an oscillation of rounds whose volume isn't the plan's."""
    if not run.oscillation:
        return
    if has_whole_epochs(run.sampler):
        raise RunError(
            f"oscillation is of rounds that a sampler draws, and those of "
            f"{SLOTS['sampler'].part_name(run.sampler)} are whole epochs: take --sampler rs2, or leave "
            "--oscillation out"
        )
    if run.selection.ratio > 1 or run.selection.scores:
        raise RunError(
            f"oscillation is of the samples that a round loads, of which selection "
            f"{SLOTS['selection'].part_name(run.selection)} trains on as many as it takes: leave one of them "
            "out"
        )


def _check_own_network(run: _Parts) -> None:
    """Refuse scores by two networks in one run, whose costs would be one."""
    asks = isinstance(run.sampler, ScoringConfig) and run.sampler.asks is not None
    if asks and isinstance(run.selection, OwnNetwork):
        raise RunError(
            f"selection {SLOTS['selection'].part_name(run.selection)} scores by a network of its own, and "
            f"sampler {SLOTS['sampler'].part_name(run.sampler)} requests scores of the run's: take another "
            "--sampler, or --selection all"
        )


def _check_evaluators(run: _Parts) -> None:
    """Refuse an evaluator of outputs where the method trains none."""
    if run.method.targets:
        return
    table = SLOTS["evaluator"].table
    fit = [name for name, made in table.items() if made().reads == "features"]
    for part in run.evaluator:
        if part.reads == "outputs":
            raise RunError(
                f"evaluator {SLOTS['evaluator'].part_name(part)} measures outputs for targets, and method "
                f"{SLOTS['method'].part_name(run.method)} trains an encoder without: take --evaluator "
                f"{_either(fit)}"
            )


def check_targets(method: MethodConfig, train: Converted) -> None:
    """Refuse a training set without the kind of targets that the method learns.

    Raises
    ------
    RunError
        With the names of the methods that learn them.
    """
    held = train.card.target
    if _learns(method, held):
        return
    fit = [name for name, made in SLOTS["method"].table.items() if _learns(made(), held)]
    remedy = f"take --method {_either(fit)}" if fit else "no method here learns those"
    raise RunError(
        f"method {SLOTS['method'].part_name(method)} learns targets of kind {method.targets[LABEL]}, and "
        f"those of {train.path} are of kind {held} ({train.card.spec.words}): {remedy}, or convert the "
        f"images with --targets {method.targets[LABEL]}"
    )


def outputs(method: MethodConfig, spec: TargetSpec) -> int:
    """Return the number of outputs of the encoder that ``method`` trains on targets of ``spec``.

    One per class, per label, or per value; 0, that is features, where a method learns no targets.
    """
    return spec.outputs if LABEL in method.targets else 0


def _learns(method: MethodConfig, held: TargetKind) -> bool:
    return method.targets.get(LABEL, held) == held


def _sampler_needs(part: SamplerConfig) -> tuple[str, ...]:
    asks = isinstance(part, ScoringConfig) and part.asks is not None
    labels = isinstance(part, LabelReading) and part.reads_labels
    return (*part.needs, *(("scores",) if asks else ()), *(("labels",) if labels else ()))


def _selection_needs(part: SelectionConfig) -> tuple[str, ...]:
    # Scores of pairs of views are made of the views alone.
    return (*part.needs, "scores") if part.scores and "pairs" not in part.needs else part.needs


def _check(run: _Parts, slot: str, part: Any, needs: Callable[[Any], tuple[str, ...]]) -> None:
    missing = _missing(run.method, needs(part))
    if not missing:
        return
    others = SLOTS[slot].table
    without = [name for name, made in others.items() if not _missing(run.method, needs(made()))]
    lack = _lack(f"{slot} {SLOTS[slot].part_name(part)}", missing, run.method)
    raise RunError(f"{lack} --method {_offering(needs(part))}, or --{slot} {_either(without)}")


def _lack(what: str, missing: list[str], method: MethodConfig) -> str:
    name = SLOTS["method"].part_name(method)
    return f"{what} needs {' and '.join(missing)}, which method {name} doesn't offer: take"


def _offering(needs: tuple[str, ...]) -> str:
    """Return the names of the methods that offer all of ``needs``."""
    return _either([name for name, made in SLOTS["method"].table.items() if not _missing(made(), needs)])


def _either(names: list[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last


def _missing(method: MethodConfig, needed: tuple[str, ...]) -> list[str]:
    # Every method has a loss, by which gradients are measured.
    there = ("loss", "gradient", *method.offers, *(("labels",) if method.targets else ()))
    return [name for name in needed if name not in there]
