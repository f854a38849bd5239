"""Batches copied on a side stream: their content is that of the data set, and memory doesn't grow."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import ENGINES, Loader
from pipeline.formats import open_dataset
from samplers import Order
from tools.gpu.outcome import Outcome, Row, Setting
from tools.gpu.sessions import small_noise

ROUNDS = 40
"""More than torch's 32 streams, so that memory kept per stream would be detected."""

BATCHES = 6
BATCH = 256
CYCLES = 1_000_000
"""Cycles of the device's clock, about half a millisecond: the host runs ahead of the batch's reader."""

SANITIZER_SECONDS = 60.0

SANITIZED = """
import sys
from pathlib import Path
from tools.gpu.checks.streams import sums
print("sum", sum(sums(Path(sys.argv[1]), sys.argv[2], "cuda", 2)))
"""


def check(setting: Setting) -> Outcome:
    """Sum batches that are freed immediately, round after round, with every installed engine."""
    outcome, rows = Outcome(), []
    small_noise(setting, 8192)
    path = setting.scratch / "noise" / "train.beton"
    engines = ["resident", *(["ffcv"] if importlib.util.find_spec("ffcv") is not None else [])]
    for engine in setting.clock.cases(engines[:1] if setting.smoke else engines):
        row = _rounds(path, engine, setting)
        rows.append(row)
        if row["wrong images"]:
            outcome.problems.append(f"{engine} delivered {row['wrong images']} wrong images")
        if row["grew, MB"]:
            outcome.problems.append(
                f"{engine}: reserved memory grew by {row['grew, MB']} MB from round 4 to {row['rounds']}"
            )
        if setting.device == "cuda":
            _sanitize(outcome, path, engine, setting)
    if "ffcv" not in engines:
        outcome.notes.append("FFCV is not installed: only the resident engine was tried")
    outcome.tables["Sums of images against the data set's own, and memory reserved"] = rows
    return outcome


def _rounds(path: Path, engine: str, setting: Setting) -> Row:
    data, wrong, reserved = open_dataset(path), 0, []
    own = np.array([int(data.image(index).sum()) for index in range(len(data))])
    rounds = 5 if setting.smoke else ROUNDS
    with Loader(data, engine=ENGINES[engine](), batch_size=BATCH, device=setting.device) as loader:
        for round_ in range(rounds):
            ids = np.random.default_rng(round_).integers(0, len(data), BATCH * BATCHES)
            wrong += int((_round(loader, ids, round_) != own[ids]).sum())
            reserved.append(torch.cuda.memory_reserved() >> 20 if setting.device == "cuda" else 0)
    return {
        "engine": engine,
        "rounds": rounds,
        "wrong images": wrong,
        "reserved after round 4, MB": reserved[3],
        "reserved at the end, MB": reserved[-1],
        "grew, MB": max(0, reserved[-1] - reserved[3]),
    }


def _round(loader: Loader, ids: NDArray[np.int64], round_: int) -> NDArray[np.int64]:
    """Return the sum of every image of a round, computed while the device is kept busy."""
    made = []
    for batch in loader.batches(Order(round=round_, ids=ids)):
        if loader.device.type == "cuda":
            torch.cuda._sleep(CYCLES)  # type: ignore[no-untyped-call]
        made.append(batch.images.flatten(1).sum(1, dtype=torch.int64))
        del batch
    return torch.cat(made).cpu().numpy()


def sums(path: Path, engine: str, device: str, rounds: int) -> list[int]:
    """Return the sum of all images of each round."""
    data = open_dataset(path)
    with Loader(data, engine=ENGINES[engine](), batch_size=BATCH, device=device) as loader:
        return [int(_round(loader, np.arange(len(data)), round_).sum()) for round_ in range(rounds)]


def _sanitize(outcome: Outcome, path: Path, engine: str, setting: Setting) -> None:
    """Load under torch's CUDA sanitizer, which detects races between streams."""
    environment = {**os.environ, "TORCH_CUDA_SANITIZER": "1"}
    words = [sys.executable, "-c", SANITIZED, str(path), engine]
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=SANITIZER_SECONDS
        )
    except subprocess.TimeoutExpired:
        outcome.notes.append(
            f"{engine}: torch's CUDA sanitizer did not end in {SANITIZER_SECONDS:.0f} seconds"
        )
        return
    outcome.facts[f"races, {engine}"] = "none" if done.returncode == 0 else "found"
    if done.returncode:
        (setting.out / f"races-{engine}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        outcome.problems.append(f"{engine} under torch's CUDA sanitizer: {last[0][:200]}")
