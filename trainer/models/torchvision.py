"""torchvision's classification models by name, untrained or with their published weights."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.protocol import Normalization, check_classes
from trainer.models.published import cached, download

_AUXILIARY = ("googlenet", "inception_v3")
"""Networks with auxiliary classifiers, whose published weights normalize images once more by themselves."""


@dataclass(frozen=True)
class TorchvisionModel:
    """Any torchvision classification model by name, from random or published weights.

    Built with torchvision's own initialization and without auxiliary classifiers. Most of these are made
    for 224 px: their stems shrink an image by 4 before the first block, which leaves little of 32 px. With
    its published weights a network's images are normalized as theirs were, unless --mean and --std say
    otherwise; weights in a file are loaded by --init-from.
    """

    arch: str = "resnet18"
    """Name in torchvision.models: resnet18, densenet161, regnet_x_3_2gf, vit_b_16, ...; --model.name is the
    same."""

    pretrained: bool = False
    """Begin from the published weights (torchvision's default ones), out of the cache of torch.hub."""

    download: bool = False
    """Download published weights that the cache lacks."""

    image_size: int | None = None
    """Side of the images in px, for models whose weights depend on it (vit_*, maxvit_t); theirs is 224."""

    def __post_init__(self) -> None:
        # Importing torchvision takes as long as PyTorch, so it is imported only for its networks.
        from torchvision import models

        known = models.list_models(module=models)
        if self.arch not in known:
            close = difflib.get_close_matches(self.arch, known, n=5, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else f"choose among {', '.join(known)}"
            raise RunError(f"model.arch must be one of torchvision's classifiers; got {self.arch!r}: {hint}")
        if self.download and not self.pretrained:
            raise RunError("model.download is of published weights: add --model.pretrained, or leave it out")
        if self.image_size is None:
            return
        if not self.arch.startswith(("vit_", "maxvit_")):
            raise RunError(
                "model.image_size is for vit_* and maxvit_t, other models take any size; "
                f"got {self.image_size} for {self.arch}: leave it out"
            )
        if self.image_size < 1:
            raise RunError(f"model.image_size must be at least 1 px; got {self.image_size}")

    def build(self, classes: int) -> nn.Module:
        """Make the network: see ``ModelConfig.build``.

        Raises
        ------
        RunError
            When ``classes`` is below 0, or when torchvision can't make this model for ``image_size``.
        """
        from torchvision import models

        check_classes(classes)
        options: dict[str, Any] = {}
        if self.arch in _AUXILIARY:
            options = {"aux_logits": False, "init_weights": True, "transform_input": self.pretrained}
        if self.image_size is not None:
            size = self.image_size
            options = {"image_size": size} if self.arch.startswith("vit_") else {"input_size": (size, size)}
        device = torch.get_default_device()
        try:
            # Some constructors read tensors back (RegNet's stages), which the meta device doesn't support.
            with torch.device("cpu"):
                # Not every constructor makes a network without classes; the head is removed afterwards.
                model: nn.Module = models.get_model(
                    self.arch, weights=None, num_classes=max(1, classes), **options
                )
        except (AssertionError, ValueError) as error:
            if self.image_size is None:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise RunError(
                f"model.image_size must suit {self.arch}; got {self.image_size}: {reason}"
            ) from error
        return with_verbs(model, headless=classes == 0).to(device)

    def normalization(self) -> Normalization | None:
        """Mean and standard deviation of the published weights' images; None where none are published."""
        weights = self._weights()
        if weights is None:
            return None
        used = weights.transforms()
        (a, b, c), (d, e, f) = used.mean, used.std
        return (a, b, c), (d, e, f)

    def weights_file(self) -> Path:
        """Return the file of the published weights: see ``Published.weights_file``."""
        weights = self._weights()
        if weights is None:
            raise RunError(f"{self.arch} has no published weights: leave --model.pretrained out")
        found = cached(None, (), weights.url)
        if found is None and self.download:
            found = download(None, (), weights.url)
        if found is None:
            raise RunError(
                f"published weights of {self.arch} must be in the cache; {weights.url} isn't: add "
                "--model.download, or name a file by --init-from in place of --model.pretrained"
            )
        return found

    def convert(self, state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
        """Return weights under the names of today: those of densenets were written with other ones."""
        older = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
        return {older.sub(r"\1\2.", name): value for name, value in state.items()}

    def _weights(self) -> Any:
        """Return torchvision's description of the default weights; None where there are none."""
        from torchvision import models

        return getattr(models.get_model_weights(self.arch), "DEFAULT", None)


class _Classifier(nn.Linear):
    """A network's last layer, which returns its input while it is bypassed."""

    bypassed = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        return input if self.bypassed else super().forward(input)


class _Headless(nn.Identity):
    """Identity in place of a last layer with ``in_features`` inputs."""

    bypassed = False

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features


class _Verbs(nn.Module):
    """The encoder's methods for networks of any family whose last operation is a linear layer.

    Features are that layer's inputs: torchvision's families have no other interface in common.
    """

    classifier_name: str

    @property
    def num_features(self) -> int:
        return self._classifier().in_features

    def forward_features(self, x: Tensor) -> Tensor:
        last = self._classifier()
        last.bypassed = True
        try:
            features: Tensor = self(x)
        finally:
            last.bypassed = False
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return x if pre_logits else self._classifier()(x)

    def get_classifier(self) -> nn.Module:
        return self._classifier()

    def _classifier(self) -> _Classifier | _Headless:
        last = self.get_submodule(self.classifier_name)
        assert isinstance(last, _Classifier | _Headless)
        return last


def with_verbs(network: nn.Module, headless: bool = False) -> nn.Module:
    """Return ``network`` as an encoder, with its parameters' names unchanged.

    A network without a linear layer (squeezenet) is returned as it is. The classes are exchanged, as
    torch.nn.utils.parametrize does: a wrapper would put its name before each parameter's.

    Parameters
    ----------
    headless
        Whether to replace the last linear layer by the identity.

    Raises
    ------
    RunError
        When there is none to replace.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        if headless:
            raise RunError(
                f"a method with heads of its own needs a network with a linear classifier; "
                f"{type(network).__name__} has none: take another --model"
            )
        return network
    last = network.get_submodule(linear[-1])
    assert isinstance(last, nn.Linear)
    if headless:
        network.set_submodule(linear[-1], _Headless(last.in_features))
    else:
        last.__class__ = _Classifier
    family = type(network)
    network.__class__ = type(family.__name__, (_Verbs, family), {"classifier_name": linear[-1]})
    return network
