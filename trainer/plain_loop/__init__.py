"""A budget and a sampler for somebody's own PyTorch loop: one call around the loader, one for the loss."""

from __future__ import annotations

from trainer.plain_loop.criterion import BudgetedLoss
from trainer.plain_loop.loader import BudgetedLoader

__all__ = ["BudgetedLoader", "BudgetedLoss"]
