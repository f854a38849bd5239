"""A short training run with its report; on CIFAR-10 if available."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource
from tools import cli
from tools.gpu.outcome import Outcome, Setting
from tools.gpu.sessions import small_noise, training
from tools.reporting.folder import read_run

LEAST_EPOCHS, MOST_EPOCHS = 1.0, 15.0

ENOUGH_SAMPLES = 50_000
"""Samples after which a network that learns is better than chance."""


def check(setting: Setting) -> Outcome:
    """Train the cifar10 recipe for as many epochs as time allows, and profile it."""
    data = setting.data or draw_set(setting.scratch / "drawn", 64 if setting.smoke else 16384, setting.smoke)
    samples = len(open_dataset(data))
    epochs = 2.0 if setting.smoke else _affordable_epochs(setting, samples)
    words = ["cifar10", "--data", str(data), "--device", setting.device, "--epochs", f"{epochs:.3g}"]
    words += ["--budget", "1"]
    if setting.smoke:
        words += ["--model", "resnet8", "--model.width", "2", "--batch-size", "16"]
    outcome = Outcome({"data": "CIFAR-10" if setting.data else "drawn", "samples": samples, "epochs": epochs})
    runs = setting.out / "run"
    quick = ["--seconds", "0.01", "--tries", "0"] if setting.smoke else ["--seconds", "10", "--tries", "2"]
    _profile(outcome, [*words, *quick], setting)
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    status = cli.main(["run", *words, "--runs-dir", str(runs), "--name", "training"])
    if status:
        outcome.problems.append(f"trainer run ended with status {status}: see console.log")
        return outcome
    # Weights are not part of the results.
    shutil.rmtree(runs / "training" / "checkpoint", ignore_errors=True)
    _read(outcome, runs / "training", classes=10)
    if setting.device == "cuda":
        outcome.facts["memory allocated at most, MB"] = torch.cuda.max_memory_allocated() >> 20
        outcome.facts["memory reserved at most, MB"] = torch.cuda.max_memory_reserved() >> 20
    return outcome


def _affordable_epochs(setting: Setting, samples: int) -> float:
    """Return the epochs for half of the section's time, by the rate of a few steps."""
    with training(setting, small_noise(setting, 4096), "rate", batch_size=128) as made:
        rate = 128e3 / made.window(20).whole
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, 0.5 * setting.clock.left() * rate / samples))


def _profile(outcome: Outcome, words: list[str], setting: Setting) -> None:
    path = setting.out / "profile" / "profile.json"
    status = cli.main(["profile", *words, "--out", str(path.parent)])
    if status:
        outcome.problems.append(f"trainer profile ended with status {status}: see console.log")
        return
    figures = json.loads(path.read_text(encoding="utf-8"))
    outcome.facts["what trainer profile finds"] = figures["sentence"]
    kept = ("stage", "milliseconds", "images_per_second", "share", "beside")
    rows = [*figures["stages"], figures["together"]]
    outcome.tables["Stages of a step, by trainer profile"] = [{key: row[key] for key in kept} for row in rows]


def _read(outcome: Outcome, folder: Path, classes: int) -> None:
    """Collect the results in the run's folder, and compare its accuracy with chance."""
    run = read_run(folder)
    accuracy, trained = run.measured.last("accuracy") or 0.0, run.number("trained") or 0.0
    outcome.facts |= {
        "accuracy": accuracy,
        "images/s": run.rate,
        "training clock, s": run.number("train_seconds"),
        "set up and compilation, s": run.number("compile_seconds"),
        "waiting for data, fraction": run.number("stall"),
    }
    if trained >= ENOUGH_SAMPLES and accuracy < 2 / classes:
        outcome.problems.append(f"accuracy is {accuracy:.1%} after {trained:,.0f} samples: it does not learn")


def draw_set(folder: Path, samples: int, smoke: bool) -> Path:
    """Make a synthetic training and test set of ten learnable classes; return the training set."""
    side = 8 if smoke else 32
    patterns = np.random.default_rng(0).integers(0, 256, (10, side, side, 3))
    for index, (split, count) in enumerate((("train", samples), ("test", max(32, samples // 8)))):
        rng = np.random.default_rng(1 + index)
        labels = np.arange(count) % 10
        noise = rng.integers(0, 256, (count, side, side, 3))
        images = ((patterns[labels] + 3 * noise) // 4).astype(np.uint8)
        classes = tuple(f"class {label}" for label in range(10))
        source = ArraySource("drawn", split, "patterns under noise", classes, labels, images)
        convert(source, folder / f"{split}.beton", ConvertOptions(encoding="raw"))
    return folder / "train.beton"
