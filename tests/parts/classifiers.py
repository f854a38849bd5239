"""Names of the methods that classify by what an encoder returns, and by nothing else."""

from __future__ import annotations

from trainer.methods import METHODS
from trainer.methods.classification import ClassificationConfig

CLASSIFIERS = [
    name
    for name, config in METHODS.items()
    # A teacher's part in the loss is not made of outputs alone: see test_distillation.py.
    if issubclass(config, ClassificationConfig) and not hasattr(config, "teacher")
]
