"""Whether a run's parts fit each other: what samplers and selections read, and what the method offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from samplers import SamplerPart, ScoringPart
from trainer.errors import RunError
from trainer.methods import MethodConfig
from trainer.selection import SelectionPart
from trainer.slots import SLOTS


class _Parts(Protocol):
    """The parts of a run that have to fit."""

    @property
    def method(self) -> MethodConfig: ...
    @property
    def sampler(self) -> SamplerPart: ...
    @property
    def selection(self) -> SelectionPart: ...


def check(run: _Parts) -> None:
    """Refuse a sampler or a selection that needs what the run's method doesn't offer.

    Raises
    ------
    RunError
        With the names of the methods that offer it, and of the parts that do without.
    """
    _check(run, "sampler", run.sampler, _sampler_needs)
    _check(run, "selection", run.selection, _selection_needs)


def _sampler_needs(part: SamplerPart) -> tuple[str, ...]:
    asks = isinstance(part, ScoringPart) and part.asks is not None
    return (*part.hears, "scores") if asks else part.hears


def _selection_needs(part: SelectionPart) -> tuple[str, ...]:
    return (*part.needs, "scores") if part.scores else part.needs


def _check(run: _Parts, slot: str, part: Any, needs: Callable[[Any], tuple[str, ...]]) -> None:
    missing = _missing(run.method, needs(part))
    if not missing:
        return
    methods, others = SLOTS["method"].table, SLOTS[slot].table
    fit = [name for name, made in methods.items() if not _missing(made(), needs(part))]
    without = [name for name, made in others.items() if not _missing(run.method, needs(made()))]
    raise RunError(
        f"{slot} {SLOTS[slot].part_name(part)} needs {' and '.join(missing)}, which method "
        f"{SLOTS['method'].part_name(run.method)} doesn't offer: take --method {_either(fit)}, or "
        f"--{slot} {_either(without)}"
    )


def _either(names: list[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last


def _missing(method: MethodConfig, needed: tuple[str, ...]) -> list[str]:
    # The loss is every method's, and gradients are measured by it.
    return [name for name in needed if name not in ("loss", "gradient", *method.offers)]
