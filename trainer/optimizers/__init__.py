"""Registry of optimizers: one file and one table line each."""

from __future__ import annotations

from trainer.optimizers.adam import Adam, AdamW
from trainer.optimizers.lamb import LAMB
from trainer.optimizers.lars import LARS
from trainer.optimizers.muon import Muon
from trainer.optimizers.protocol import OptimizerConfig
from trainer.optimizers.sgd import SGD

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "lars": LARS,
    "lamb": LAMB,
    "muon": Muon,
}

__all__ = ["OPTIMIZERS", "SGD", "OptimizerConfig"]
