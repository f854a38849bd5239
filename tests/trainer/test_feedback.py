"""Statistics per step of the feedback that was collected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline import Batch, Mixture
from trainer.feedback import FeedbackBuffer
from trainer.methods import Losses
from trainer.parallel import World


def batch(mixture: Mixture | None = None) -> Batch:
    return Batch(np.array([7, 3]), (torch.zeros(2, 3, 4, 4),), {}, mixture)


def losses(loss: list[list[float]], correct: list[list[bool]] | None) -> Losses:
    return Losses(torch.tensor(loss), correct=None if correct is None else torch.tensor(correct))


def test_training_accuracy_of_each_step() -> None:
    buffer = FeedbackBuffer(World())
    buffer.add(batch(), losses([[1.0], [3.0]], [[True], [False]]))
    # Samples that are only scored count for no step.
    buffer.add(batch(), losses([[9.0], [9.0]], [[True], [True]]), trained=False)
    buffer.add(batch(), losses([[2.0], [2.0]], [[True], [True]]))
    found = buffer.drain(2)
    assert found.losses == [2.0, 2.0]
    assert found.accuracies == [0.5, 1.0]


def test_each_label_of_a_mixed_image_counts_by_its_coefficient() -> None:
    mixture = Mixture.of(np.array([[0, 1], [1, 0]]), np.array([[0.75, 0.25], [0.5, 0.5]], np.float32))
    buffer = FeedbackBuffer(World())
    buffer.add(batch(mixture), losses([[1.0, 1.0], [1.0, 1.0]], [[True, False], [False, True]]))
    assert buffer.drain(1).accuracies == [pytest.approx((0.75 + 0.5) / 2)]


def test_methods_without_classes_have_no_training_accuracy() -> None:
    buffer = FeedbackBuffer(World())
    buffer.add(batch(), losses([[1.0], [3.0]], None))
    assert buffer.drain(1).accuracies == []
    assert buffer.drain(1).accuracies == []
