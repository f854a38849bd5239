"""Protocols of models: configs that build a network, and encoders with timm's methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from trainer.errors import RunError


@runtime_checkable
class Encoder(Protocol):
    """A network with the methods of timm's (Wightman 2019), each a part of ``forward``.

    ``forward(x)`` is ``forward_head(forward_features(x))``. Networks without these methods can be
    trained and evaluated; they are needed for features only.

    Attributes
    ----------
    num_features
        d, the classifier's number of inputs per image.
    """

    num_features: int

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features of images [n, 3, H, W], of any shape that `forward_head` takes."""

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits [n, classes] of features, or the classifier's inputs, [n, d]."""

    def get_classifier(self) -> nn.Module:
        """Return the last layer, from [n, d] to logits; nn.Identity for a network without classes."""


def check_encoder(network: nn.Module) -> Encoder:
    """Return ``network`` after checking that it has an encoder's methods.

    Raises
    ------
    RunError
        When it doesn't.
    """
    if not isinstance(network, Encoder):
        raise RunError(
            "features are those of a network with forward_features, forward_head, get_classifier and "
            f"num_features; {type(network).__name__} lacks them: take another --model, or do without features"
        )
    return network


class ModelConfig(Protocol):
    """A frozen dataclass of a model family's options."""

    def build(self, classes: int) -> nn.Module:
        """Return a freshly initialized network from float images [n, 3, H, W] to outputs [n, classes].

        The initial weights come from torch's global generator: the caller seeds it. Made under
        ``torch.device(...)`` the weights are on that device, on "meta" without memory.

        Parameters
        ----------
        classes
            Number of outputs: of classes, labels or values per image. With 0 the last layer is the identity,
            and outputs are a classifier's inputs, [n, num_features]: for methods that have heads of
            their own.

        Raises
        ------
        RunError
            When ``classes`` is below 0.
        """


@runtime_checkable
class DataInitialized(Protocol):
    """A network some of whose initial weights are computed from training images.

    Attributes
    ----------
    beginning_images
        Number of images wanted; it gets as many as the set has, if they are fewer.
    """

    beginning_images: int

    def begin_from(self, batches: Iterable[Tensor]) -> None:
        """Compute the weights from batches of images, float[n, C, H, W], as evaluation would see them.

        Called once in a run, before the first step and before weights of a file are loaded: a run that
        resumes has what was computed from its checkpoint, so it must be part of the state dict. The result
        may depend on nothing but the images, and all ranks get the same ones.
        """


Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation per channel, of pixels in [0, 1]."""


@runtime_checkable
class Published(Protocol):
    """A model config of a library that publishes weights of its networks."""

    @property
    def pretrained(self) -> bool:
        """Whether to begin from the published weights."""

    def normalization(self) -> Normalization | None:
        """Return mean and standard deviation of the published weights' images; None if unknown."""

    def weights_file(self) -> Path:
        """Return the file of the published weights: in the library's cache, or downloaded where asked for.

        Raises
        ------
        RunError
            When there are none, or the cache lacks them and a download wasn't asked for or failed.
        """

    def convert(self, state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
        """Return published weights under the names, and with the shapes, of ``network``'s own."""


def classifier(features: int, classes: int) -> nn.Module:
    """Return a linear layer from [n, features] to [n, classes], or the identity if ``classes`` is 0.

    Raises
    ------
    RunError
        When ``classes`` is below 0.
    """
    check_classes(classes)
    return nn.Linear(features, classes) if classes else nn.Identity()


def check_classes(classes: int) -> None:
    """Refuse a negative number of outputs, as a RunError."""
    if classes < 0:
        raise RunError(f"classes must be at least 0; got {classes}: 0 leaves the classifier out")


def parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters of ``model``, counting shared ones once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
