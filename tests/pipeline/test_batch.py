from __future__ import annotations

import numpy as np
import torch

from pipeline import Batch, Mixture, PendingIds


def test_pending_ids_are_those_of_the_chosen_candidates() -> None:
    pending = PendingIds(np.array([30, 10, 20]), torch.tensor([2, 0, 0, 1]))
    assert len(pending) == 4
    assert pending.resolve().tolist() == [20, 30, 30, 10]


def test_without_mixing_every_image_has_one_constituent() -> None:
    values, losses = torch.tensor([3.0, 4.0]), torch.tensor([[1.0], [2.0]])
    batch = Batch(np.arange(2), (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2)), {"label": values})
    assert len(batch) == 2
    assert batch.images is batch.views[0]
    assert batch.constituents(values).tolist() == [[3.0], [4.0]]
    assert batch.per_image(losses).tolist() == batch.per_sample(losses).tolist() == [1.0, 2.0]


def test_a_mixed_batch_asks_its_mixture() -> None:
    mixture = Mixture.of(np.array([[1, 0], [0, 1]]), np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
    batch = Batch(np.arange(2), (torch.zeros(2, 3, 4, 4),), {}, mixture)
    losses = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert batch.constituents(torch.tensor([8, 9])).tolist() == [[9, 8], [8, 9]]
    assert batch.per_image(losses).tolist() == [1.75, 4.0]
    assert torch.equal(batch.per_sample(losses), mixture.per_sample(losses))
