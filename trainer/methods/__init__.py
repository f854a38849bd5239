"""What is being learned: one file per method; a part is entered here by one line."""

from trainer.methods.focal import Focal
from trainer.methods.label_smoothing import LabelSmoothing
from trainer.methods.protocol import Losses, MethodPart, Statistic
from trainer.methods.supervised import Supervised

METHODS: dict[str, type[MethodPart]] = {
    "supervised": Supervised,
    "focal": Focal,
    "label_smoothing": LabelSmoothing,
}

__all__ = ["METHODS", "Losses", "MethodPart", "Statistic", "Supervised"]
