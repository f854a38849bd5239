"""What a model part is: options that build a network once the number of classes is known."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from trainer.errors import RunError


class ModelPart(Protocol):
    """A frozen dataclass of a model family's options."""

    def build(self, classes: int) -> nn.Module:
        """Make a freshly initialised network from float images [n, 3, H, W] to logits [n, classes].

        The initial weights come from torch's global generator: the caller seeds it. Made under
        ``torch.device(...)`` the weights lie on that device, on "meta" without memory.

        Raises
        ------
        RunError
            When ``classes`` is below 2.
        """


def check_classes(classes: int) -> None:
    """Refuse a classifier of fewer than two classes, as a RunError."""
    if classes < 2:
        raise RunError(f"classes must be at least 2 for a classifier; got {classes}: see the data set's card")


def parameters(model: nn.Module) -> int:
    """Count the trainable parameters of ``model``, each once where modules share them."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
