"""Statistics per step of the feedback that was collected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline import Batch, Mixture, PendingIds
from trainer.feedback import FeedbackBuffer
from trainer.methods import Losses
from trainer.methods.classification import Supervised
from trainer.parallel import World
from trainer.step import mixed_loss


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


def test_by_position_the_ith_image_is_feedback_for_the_ith_sample() -> None:
    """As released by Arazo et al. (2021): 1 - softmax(outputs)[i, labels[i]], whatever image i shows."""
    mixture = Mixture.of(np.array([[1, 1], [1, 1]]), np.array([[0.75, 0.25], [0.5, 0.5]], np.float32))
    outputs, labels = torch.tensor([[2.0, 0.0, 1.0], [0.5, 1.0, 0.0]]), torch.tensor([2, 0])
    found = {}
    for name, of in (("constituents", mixture), ("position", mixture.by_position())):
        one = Batch(np.array([7, 3]), (torch.zeros(2, 3, 4, 4),), {"label": labels}, of)
        measured = Supervised().build(torch.nn.Identity()).losses(outputs, one.constituents(labels))
        buffer = FeedbackBuffer(World())
        buffer.add(one, measured)
        found[name] = buffer.drain(1), mixed_loss(measured.loss, of, None)
    # What is trained on, and its log, is the same to the bit.
    assert found["position"][1] == found["constituents"][1]
    assert found["position"][0].losses == found["constituents"][0].losses
    assert found["position"][0].accuracies == found["constituents"][0].accuracies
    feedback = found["position"][0].feedback
    assert feedback.coefficient is not None
    assert feedback.p_true is not None
    own = feedback.coefficient > 0
    assert feedback.ids[own].tolist() == [7, 3]
    assert feedback.coefficient[own].tolist() == [1.0, 1.0]
    expected = outputs.softmax(dim=1)[[0, 1], labels]
    np.testing.assert_allclose(feedback.p_true[own], expected, rtol=1e-6)
    # Neither image shows sample 7.
    assert set(found["constituents"][0].feedback.ids.tolist()) == {3}


def test_ids_that_only_the_device_knew_come_in_the_order_of_steps() -> None:
    known = np.array([5, 6])
    first = PendingIds(np.array([30, 10, 20]), torch.tensor([2, 0]))
    second = PendingIds(np.array([7, 8]), torch.tensor([1, 0]))
    buffer = FeedbackBuffer(World())
    for ids in (first, known, second):
        images = torch.zeros(len(ids), 3, 4, 4)
        buffer.add(Batch(ids, (images,), {}), Losses(torch.arange(float(len(ids)))[:, None]))
    found = buffer.drain(3)
    assert found.feedback.ids.tolist() == found.trained.tolist() == [20, 30, 5, 6, 8, 7]
    assert found.feedback.loss.tolist() == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
