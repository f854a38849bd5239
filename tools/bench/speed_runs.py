"""Recipes of the speedrun at a bench's size: narrower, in other batches, with or without a selection."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from trainer import recipe
from trainer.config import Run
from trainer.models import ModelConfig, WhitenedCNN
from trainer.optimizers.muon import Muon
from trainer.schedules import Linear
from trainer.selection.proxy import Proxy

CASES = ("cifar10", "cifar10-selected", "cifar10-96-proxy")
_RECIPES = dict(zip(CASES, ("cifar10_speed", "cifar10_speed", "cifar10_speed96"), strict=True))

Selected = Literal["rs2", "proxy"]
_SELECTED: dict[str, dict[str, Any]] = {
    "rs2": {"sampler": "rs2", "budget": 0.9},
    "proxy": {
        "budget": 0.75,
        "scoring": "train",
        "selection": {"name": "proxy", "ratio": 4 / 3, "width": 0.25},
    },
}


@dataclass(frozen=True, slots=True)
class SpeedRuns:
    """The runs of each case at one size.

    Attributes
    ----------
    factor
        Width of the networks, relative to the recipes'.
    batch_size, epochs
        In place of the recipes'; None keeps theirs.
    selected
        How cifar10-selected spares samples.
    device, compile, threads, data_dir
        Settings of the runs; None keeps the recipes'.
    """

    factor: float
    batch_size: int | None
    epochs: float | None
    selected: Selected
    device: str
    compile: bool
    threads: int | None
    data_dir: Path | None

    def plain(self, case: str, **entries: Any) -> Run:
        """Return a case's recipe at this size."""
        table = recipe.to_table(recipe.load(_RECIPES[case]))
        table.update(device=self.device, compile=self.compile, **entries)
        if self.threads is not None:
            table["threads"] = self.threads
        if self.data_dir is not None:
            table["data_dir"] = str(self.data_dir)
        if self.epochs is not None:
            table["epochs"] = self.epochs
        run = recipe.from_table(table, where="bench")
        if self.batch_size is not None:
            run = _resized(run, self.batch_size)
        selection = run.selection
        if isinstance(selection, Proxy) and selection.model is not None:
            own = _narrowed(selection.network_of(run.model), self.factor)
            widths = ",".join(map(str, own.widths))
            selection = replace(
                selection, model=re.sub(r"widths=[\d,]+", f"widths={widths}", selection.model)
            )
        return replace(run, model=_narrowed(run.model, self.factor), selection=selection)

    def ours(self, case: str, **entries: Any) -> Run:
        """Return our side of a case: the recipe, with what spares samples where the case has that."""
        selected = _SELECTED[self.selected] if case == "cifar10-selected" else {}
        return self.plain(case, **{**selected, **entries})

    def without(self, **entries: Any) -> Run:
        """Return cifar10_speed96 without its proxy: all samples of as many steps."""
        run = self.plain("cifar10-96-proxy", selection="all", budget=1.0, **entries)
        optimizer: Any = run.optimizer
        rates = {name: 2 * getattr(optimizer, name) for name in ("lr", "norm_bias_lr")}
        return replace(run, batch_size=2 * run.batch_size, optimizer=replace(optimizer, **rates))


def steps_of(run: Run) -> int:
    """Return the number of steps of a run on CIFAR-10's 50,000 images."""
    return round(run.epochs * run.budget * 50_000) // run.batch_size


def _resized(run: Run, batch_size: int) -> Run:
    """Return a run in other batches, whose rates are those of the script: for sums of losses."""
    factor, optimizer = batch_size / run.batch_size, run.optimizer
    names = ("rest_lr" if isinstance(optimizer, Muon) else "lr", "norm_bias_lr", "weight_decay")
    scaled: Any = {name: factor * getattr(optimizer, name) for name in names}
    made: Any = replace(optimizer, **scaled)  # type: ignore[type-var]
    run = replace(run, batch_size=batch_size, optimizer=made)
    if isinstance(run.schedule, Linear):
        run = replace(run, schedule=Linear(final=1 / steps_of(run)))
    return run


def _narrowed(part: ModelConfig, factor: float) -> WhitenedCNN:
    assert isinstance(part, WhitenedCNN)
    first, second, third = (max(1, round(factor * width)) for width in part.widths)
    return replace(part, widths=(first, second, third))
