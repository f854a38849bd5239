"""Somebody's own training loop on a small set, under a sampler; and the same sampler, fed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from samplers import Feedback
from trainer import BudgetedLoader

SAMPLES, CLASSES = 60, 3


class Points(Dataset[tuple[Tensor, Tensor, int]]):
    """Noise in three classes; each item has its id."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.values = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
        self.targets = torch.arange(SAMPLES) % CLASSES

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor, int]:
        return self.values[sample], self.targets[sample], sample


class Loop:
    """A plain loop: linear regression by softmax, with the ids and losses of its steps."""

    def __init__(self, sampler: Any, *, epochs: float = 4, **options: Any) -> None:
        torch.manual_seed(1)
        self.model = nn.Linear(4, CLASSES, dtype=torch.float64)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)
        settings: dict[str, Any] = {"batch_size": 8, "shuffle": True}
        settings |= {
            key: options.pop(key)
            for key in ("num_workers", "persistent_workers", "in_order")
            if key in options
        }
        self.loader = BudgetedLoader(
            DataLoader(Points(), **settings),
            sampler,
            **{"epochs": epochs, "budget": 0.5, "optimizer": self.optimizer, **options},
        )
        self.criterion = self.loader.criterion(nn.CrossEntropyLoss())
        self.seen: list[list[int]] = []
        self.losses: list[float] = []

    def steps(self) -> Iterator[Feedback]:
        """Train for a round, and yield the feedback of each of its steps as it should be."""
        for values, labels, ids in self.loader:
            outputs = self.model(values)
            loss = self.criterion(outputs, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.seen.append(ids.tolist())
            self.losses.append(loss.item())
            yield measured(outputs, labels, ids, trained=True)

    def scores(self) -> Iterator[Feedback]:
        """Score what the sampler asks for, and yield the feedback."""
        for values, labels, ids in self.loader.requested():
            with torch.no_grad():
                outputs = self.model(values)
                self.criterion(outputs, labels)
            yield measured(outputs, labels, ids, trained=False)


def measured(outputs: Tensor, labels: Tensor, ids: Tensor, *, trained: bool) -> Feedback:
    """Return the feedback of a batch."""
    losses = F.cross_entropy(outputs.detach(), labels, reduction="none")
    p = torch.softmax(outputs.detach(), dim=1)
    error = (p - F.one_hot(labels, CLASSES)).norm(dim=1)
    columns = [column.numpy().astype(np.float32) for column in (losses, torch.exp(-losses), error)]
    return Feedback(1, ids.numpy(), columns[0], columns[1], np.full(len(ids), trained), None, columns[2])
