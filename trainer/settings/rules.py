"""The rules of a run's settings: of each by itself, and of those that must fit each other."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.machine import MOST_THREADS
from pipeline.resolution import check_pixels
from samplers.errors import SamplingError
from samplers.oscillation import Oscillation
from trainer.errors import RunError
from trainer.updates.annealing import parse

if TYPE_CHECKING:
    from trainer.config import Settings

MOST_COPIES = 1000
MOST_EPOCHS = 1e6
LEAST_ROUND = 1e-4
"""Limits beyond any sensible run, which guard against typos."""

LONGEST_NAME = 200
"""Maximum bytes of a run folder's name; file systems allow 255, and longer names are derived from it."""

CHOICES: dict[str, Any] = {
    "labels_per_class": None,
    "labelled_every": None,
    "labelled_list": None,
    "labelled": 1.0,
}
"""Settings that choose the labelled samples, of which a run has one at most, with their defaults."""


def check_settings(run: Settings) -> None:
    """Refuse settings that can't be, whatever the run's parts.

    Raises
    ------
    RunError
        With the setting, its rule and its value.
    """
    above_zero = ("epochs", "batch_size", "accumulate", "evaluate_every", "log_every", "round_length")
    for name in above_zero:
        if not getattr(run, name) > 0:
            raise RunError(f"{name} must be above 0; got {getattr(run, name)}")
    if run.epochs > MOST_EPOCHS:
        raise RunError(f"epochs must be at most {MOST_EPOCHS:,.0f}; got {run.epochs:g}")
    if not 1 <= run.multiply <= MOST_COPIES:
        raise RunError(
            f"multiply must be at least 1 and at most {MOST_COPIES:,} copies of a sample; got {run.multiply}"
        )
    if not 0 < run.multiply_classes <= 1:
        raise RunError(
            f"multiply_classes must be above 0 and at most 1, a fraction of the classes; "
            f"got {run.multiply_classes:g}"
        )
    if run.multiply == 1 and (run.multiply_classes, run.multiply_seed) != (1, 0):
        raise RunError(
            "multiply_classes and multiply_seed choose what is multiplied, and multiply is 1: add "
            "--multiply 5, or leave them out"
        )
    _check_labelled(run)
    if not 0 < run.budget <= 1:
        raise RunError(
            f"budget must be above 0 and at most 1, a fraction of the full training; got {run.budget:g}"
        )
    _check_hours(run)
    for name in (
        "seed",
        "init_seed",
        "order_seed",
        "augment_seed",
        "selection_seed",
        "multiply_seed",
        "labelled_seed",
    ):
        value = getattr(run, name)
        if value is not None and not 0 <= value < 2**32:
            raise RunError(f"{name} must be at least 0 and below 2**32; got {value}")
    if run.batch_size < 2:
        raise RunError(f"batch_size must be at least 2 for batch normalization; got {run.batch_size}")
    if run.batch_size % run.accumulate or run.batch_size < 2 * run.accumulate:
        raise RunError(
            f"accumulate must divide batch_size into micro-batches of 2 images at least; got "
            f"{run.accumulate} for a batch of {run.batch_size}"
        )
    if run.gradient_checkpointing and run.compile:
        raise RunError(
            "gradient_checkpointing is for runs without --compile, which itself chooses what to "
            "recompute: leave one of them out"
        )
    if run.clip_norm is not None and not 0 < run.clip_norm < math.inf:
        raise RunError(f"clip_norm must be above 0 and finite; got {run.clip_norm:g}")
    if run.ema is not None and not 0 < run.ema < 1:
        raise RunError(
            f"ema must be above 0 and below 1, .9998 say; got {run.ema:g}: leave it out for no average"
        )
    if not LEAST_ROUND <= run.round_length <= 1:
        raise RunError(
            f"round_length must be at least {LEAST_ROUND:g} and at most 1 epoch; got {run.round_length:g}"
        )
    try:
        Oscillation(run.oscillation, run.oscillation_rounds)
    except SamplingError as error:
        raise RunError(str(error)) from None
    if run.lead < 0:
        raise RunError(f"lead must be at least 0 steps; got {run.lead}")
    if not run.checkpoint_seconds >= 0:
        raise RunError(f"checkpoint_seconds must be at least 0; got {run.checkpoint_seconds:g}")
    if run.prefetch < 1:
        raise RunError(f"prefetch must be at least 1 batch; got {run.prefetch}")
    check_pixels("evaluation_resolution", run.evaluation_resolution)
    crop = run.evaluation_crop
    if crop is not None and not 0 < crop <= 1:
        raise RunError(f"evaluation_crop must be above 0 and at most 1; got {crop:g}")
    if run.mean is not None and not all(map(math.isfinite, run.mean)):
        raise RunError(f"mean must be finite in every channel; got {run.mean}")
    if run.std is not None and not all(0 < value < math.inf for value in run.std):
        raise RunError(f"std must be above 0 in every channel and finite; got {run.std}")
    if run.threads is not None and not 1 <= run.threads <= MOST_THREADS:
        raise RunError(f"threads must be at least 1 and at most {MOST_THREADS:,}; got {run.threads}")
    parse(run.train_until)
    if run.name is not None:
        check_folder_name("name", run.name)


def _check_labelled(run: Settings) -> None:
    """Refuse two choices of labelled samples, and values out of range."""
    if not 0 < run.labelled <= 1:
        raise RunError(
            f"labelled must be above 0 and at most 1, a fraction of the samples; got {run.labelled:g}"
        )
    counts = {name: getattr(run, name) for name in ("labels_per_class", "labelled_every")}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise RunError(f"{name} must be at least 1; got {value}")
    given = [name for name, usual in CHOICES.items() if getattr(run, name) != usual]
    if len(given) > 1:
        raise RunError(
            f"labelled samples must be chosen in one way; got {' and '.join(given)}: leave one out"
        )


def _check_hours(run: Settings) -> None:
    hours, price = run.budget_hours, run.price_per_hour
    if hours is not None and not 0 < hours < math.inf:
        raise RunError(f"budget_hours must be above 0 and finite; got {hours:g}")
    if hours is not None and run.budget != 1:
        raise RunError(
            f"budget and budget_hours exclude each other; got {run.budget:g} and {hours:g}: give one of "
            "them (in Python, hours with budget=1)"
        )
    if hours is not None and run.counts != "trained":
        raise RunError(
            f"counts is for a budget of samples, and hours contain all that is computed; got "
            f"{run.counts} with budget_hours {hours:g}: leave it out"
        )
    if hours is None and run.budget_clock != "training":
        raise RunError(
            f"budget_clock is the clock of budget_hours; got {run.budget_clock} without hours: add "
            "--budget-hours, or leave it out"
        )
    if price is not None and not 0 <= price < math.inf:
        raise RunError(f"price_per_hour must be at least 0 and finite; got {price:g}")


def check_folder_name(setting: str, name: str) -> None:
    """Refuse a name that isn't the name of one folder.

    Raises
    ------
    RunError
        When it isn't one folder's name, can't be printed, or is too long.
    """
    # ".." is its own name, and leads out of the folder of runs.
    if name in ("", ".", "..") or Path(name).name != name or not name.isprintable():
        raise RunError(
            f"{setting} must be one folder name without slashes or control characters; got {name!r}: "
            "give one such as first-try"
        )
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise RunError(
            f"{setting} must be at most {LONGEST_NAME} bytes long; got {len(os.fsencode(name))}, of "
            f"{name[:20]!r} and so on: give a shorter --name"
        )
