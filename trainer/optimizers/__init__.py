"""Registry of optimizers: one file and one table line each."""

from __future__ import annotations

from trainer.optimizers.protocol import OptimizerConfig
from trainer.optimizers.sgd import SGD

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "sgd": SGD,
}

__all__ = ["OPTIMIZERS", "SGD", "OptimizerConfig"]
