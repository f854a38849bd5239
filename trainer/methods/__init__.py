"""What is being learned: one file a method; a part is entered here by one line."""

from trainer.methods.protocol import Losses, MethodPart
from trainer.methods.supervised import Supervised

METHODS: dict[str, type[MethodPart]] = {
    "supervised": Supervised,
}

__all__ = ["METHODS", "Losses", "MethodPart", "Supervised"]
