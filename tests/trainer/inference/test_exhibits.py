"""Which images are kept as wrongly answered."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.targets import TargetSpec
from trainer.inference.exhibits import Exhibits
from trainer.inference.tasks import task_of, with_threshold
from trainer.inference.value_report import MOST_POINTS, ValueTally


def test_the_most_wrong_are_kept_in_whatever_parts_they_come() -> None:
    rng = np.random.default_rng(0)
    wrongness = rng.integers(0, 50, 200) / 50
    answers = torch.arange(200)[:, None].float()
    expected = sorted(range(200), key=lambda index: (-wrongness[index], index))[:10]
    for parts in (1, 7, 200):
        exhibits = Exhibits(10)
        for part in np.array_split(np.arange(200), parts):
            exhibits.add(part, torch.from_numpy(wrongness[part]), answers[part], torch.from_numpy(part))
        worst = exhibits.worst()
        assert [one.wrongness for one in worst] == [wrongness[index] for index in expected]
        assert all(one.answers == [one.index] and one.target == one.index for one in worst)


def test_right_answers_are_none() -> None:
    exhibits = Exhibits(3)
    exhibits.add(np.arange(4), torch.tensor([0.0, 0.5, 0.0, 0.0]), torch.zeros(4, 2), torch.zeros(4))
    assert [one.index for one in exhibits.worst()] == [1]


def test_wrongness_by_kind() -> None:
    every = np.ones(2, np.bool_)
    classes = task_of(TargetSpec("class", ("a", "b")))
    log_p = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    found = classes.wrongness(log_p, torch.tensor([1, 1]), every)
    torch.testing.assert_close(found, torch.tensor([0.9, 0.0]))
    labels = with_threshold(task_of(TargetSpec("multi_label", ("a", "b"))), 0.4)
    logits = torch.logit(torch.tensor([[0.9, 0.45], [0.1, 0.8]]))
    targets = torch.tensor([[1, 0], [1, 1]], dtype=torch.uint8)
    torch.testing.assert_close(labels.wrongness(logits, targets, every), torch.tensor([0.45, 0.9]))
    # What the set doesn't have can't be wrong.
    known = np.array([True, False])
    torch.testing.assert_close(labels.wrongness(logits, targets, known), torch.tensor([0.0, 0.9]))
    values = task_of(TargetSpec("value", columns=2))
    error = values.wrongness(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), every)
    torch.testing.assert_close(error, torch.tensor([5.0]))


def test_points_are_spread_evenly_over_a_set_of_any_size() -> None:
    for images in (10, MOST_POINTS, 5_000):
        tally = ValueTally(1, torch.device("cpu"))
        for part in torch.arange(images).float().split(137):
            tally.add(part[:, None] + 1, part)
        points = tally.report().points[:, :, 0]
        assert min(images, MOST_POINTS // 2) <= len(points) <= MOST_POINTS
        steps = np.unique(np.diff(points[:, 0]))
        assert len(steps) == 1
        assert points[-1, 0] + steps[0] >= images
        np.testing.assert_array_equal(points[:, 1], points[:, 0] + 1)
