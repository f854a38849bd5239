"""Registry of evaluators, which measure metrics on held-out data: one file and one table line each."""

from __future__ import annotations

from trainer.evaluators.classification import Classification
from trainer.evaluators.knn import Knn
from trainer.evaluators.multi_label import MultiLabelPrecision
from trainer.evaluators.protocol import Evaluator, EvaluatorConfig, EvaluatorContext
from trainer.evaluators.regression import RegressionErrors

EVALUATORS: dict[str, type[EvaluatorConfig]] = {
    "classification": Classification,
    "multi_label": MultiLabelPrecision,
    "regression": RegressionErrors,
    "knn": Knn,
}

__all__ = ["EVALUATORS", "Evaluator", "EvaluatorConfig", "EvaluatorContext"]
