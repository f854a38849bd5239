"""Pages of evaluations of made-up answers, on images of noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.sources import ArraySource
from pipeline.targets import TargetKind, TargetSpec
from tools.evaluating.page import page
from trainer.inference.exhibits import Exhibits
from trainer.inference.tasks import task_of

IMAGES = 240


def evaluation(kind: TargetKind, outputs: int, *, most: int = 24, **changes: Any) -> str:
    """Return the page of a network that is right about two times of three.

    Parameters
    ----------
    outputs
        Classes, labels or values.
    most
        Images on the page.
    """
    rng = np.random.default_rng(0)
    names = tuple(f"class <{number}> & co" for number in range(outputs))
    labels: Any
    if kind == "class":
        spec, labels = TargetSpec("class", names), np.arange(IMAGES) % outputs
        answers = rng.normal(0, 1, (IMAGES, outputs))
        answers[np.arange(IMAGES), labels] += 1.5 + 0.5 * np.log(outputs)
        answers -= np.log(np.exp(answers).sum(axis=1, keepdims=True))
    elif kind == "multi_label":
        spec, labels = TargetSpec("multi_label", names), rng.integers(0, 2, (IMAGES, outputs), np.uint8)
        answers = rng.normal(0, 2, (IMAGES, outputs)) + 2 * labels - 1
    else:
        spec = TargetSpec("value", columns=None if outputs == 1 else outputs)
        labels = rng.normal(0, 3, (IMAGES, outputs)).astype(np.float32)
        answers = labels + rng.normal(0, 1, labels.shape)
        labels = labels[:, 0] if outputs == 1 else labels
    images = rng.integers(0, 256, (IMAGES, 16, 20, 3), dtype=np.uint8)
    source = ArraySource("x", "test", "x", names if kind != "value" else (), labels, images, kind=kind)
    task = task_of(spec)
    found = task.match(spec, labels, "x")
    tally, exhibits = task.tally(found.known, torch.device("cpu")), Exhibits(most)
    for part in np.array_split(np.arange(IMAGES), 5):
        given, targets = torch.tensor(answers[part]).float(), torch.from_numpy(found.targets[part])
        tally.add(given, targets)
        exhibits.add(part, task.wrongness(given, targets, found.known), given, targets)
    return page(spec, tally.report(), exhibits.worst(), source, "runs/x, step 5, on <data>", ["A note."])
