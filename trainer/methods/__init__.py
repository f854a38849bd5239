"""Registry of learning methods: one file and one table line each."""

from trainer.methods.balanced import Balanced
from trainer.methods.classification import Supervised
from trainer.methods.distillation import Distillation
from trainer.methods.focal import Focal
from trainer.methods.label_smoothing import LabelSmoothing
from trainer.methods.multi_label import MultiLabel
from trainer.methods.protocol import Losses, Method, MethodConfig, Offer
from trainer.methods.regression import Regression
from trainer.methods.simsiam import SimSiam

METHODS: dict[str, type[MethodConfig]] = {
    "supervised": Supervised,
    "focal": Focal,
    "label_smoothing": LabelSmoothing,
    "distillation": Distillation,
    "balanced": Balanced,
    "multi_label": MultiLabel,
    "regression": Regression,
    "simsiam": SimSiam,
}

__all__ = ["METHODS", "Losses", "Method", "MethodConfig", "Offer", "Supervised"]
