"""Registry of learning methods: one file and one table line each."""

from trainer.methods.balanced import Balanced
from trainer.methods.byol import BYOL
from trainer.methods.classification import Supervised
from trainer.methods.dino import DINO
from trainer.methods.distillation import Distillation
from trainer.methods.focal import Focal
from trainer.methods.label_smoothing import LabelSmoothing
from trainer.methods.moco import MoCo
from trainer.methods.multi_label import MultiLabel
from trainer.methods.protocol import Losses, Method, MethodConfig, Offer
from trainer.methods.regression import Regression
from trainer.methods.simclr import SimCLR
from trainer.methods.simsiam import SimSiam
from trainer.methods.unsupervised_batchnorm import UnsupervisedBatchNorm

METHODS: dict[str, type[MethodConfig]] = {
    "supervised": Supervised,
    "focal": Focal,
    "label_smoothing": LabelSmoothing,
    "distillation": Distillation,
    "balanced": Balanced,
    "multi_label": MultiLabel,
    "regression": Regression,
    "simsiam": SimSiam,
    "byol": BYOL,
    "simclr": SimCLR,
    "moco": MoCo,
    "dino": DINO,
    "ubn": UnsupervisedBatchNorm,
}

__all__ = ["METHODS", "Losses", "Method", "MethodConfig", "Offer", "Supervised"]
