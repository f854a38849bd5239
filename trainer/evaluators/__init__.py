"""Registry of evaluators, which measure metrics on held-out data: one file and one table line each."""

from __future__ import annotations

from trainer.evaluators.classification import Classification
from trainer.evaluators.protocol import Evaluator, EvaluatorConfig, EvaluatorContext

EVALUATORS: dict[str, type[EvaluatorConfig]] = {
    "classification": Classification,
}

__all__ = ["EVALUATORS", "Evaluator", "EvaluatorConfig", "EvaluatorContext"]
