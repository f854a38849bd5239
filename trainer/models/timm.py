"""timm's networks by name, untrained or with their published weights."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.protocol import Normalization, check_classes
from trainer.models.published import cached, download

DEFAULT = "vit_small_patch16_224"

_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of weights in a repository of the Hugging Face hub."""


@dataclass(frozen=True)
class TimmModel:
    """Any of timm's networks by name, from random or published weights.

    Wightman (2019). `timm.list_models()` lists them, `timm.list_pretrained()` those with weights, whose tag
    may follow the name: resnet50.a1_in1k. With its published weights a network's images are normalized as
    theirs were, unless --mean and --std say otherwise; weights in a file are loaded by --init-from.
    """

    arch: str = DEFAULT
    """Name in timm: vit_small_patch16_224, convnext_tiny.in12k_ft_in1k, ...; --model.name is the same."""

    pretrained: bool = False
    """Begin from the published weights, out of the cache of the Hugging Face hub or of torch.hub."""

    download: bool = False
    """Download published weights that neither cache holds."""

    image_size: int | None = None
    """Side of the images in px, for networks of one size (most vit_*, swin_*); None takes timm's. Published
    position weights are resampled to it."""

    options: tuple[str, ...] = ()
    """Further options of the network, as timm's constructor takes them: drop_path_rate=0.1 depth=6."""

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise RunError(f"model.image_size must be at least 1 px; got {self.image_size}")
        if self.download and not self.pretrained:
            raise RunError("model.download is of published weights: add --model.pretrained, or leave it out")
        self._arguments()
        if self.arch != DEFAULT or self.pretrained:
            # timm takes seconds to import: only who wants one of its networks waits for it.
            self._config()

    def build(self, classes: int) -> nn.Module:
        """Make the network: see ``ModelConfig.build``.

        Raises
        ------
        RunError
            When ``classes`` is below 0, when timm isn't installed, or can't make this network with these
            options.
        """
        check_classes(classes)
        timm, arguments = _timm(), self._arguments()
        if self.image_size is not None:
            arguments["img_size"] = self.image_size
        device = torch.get_default_device()
        try:
            # Some constructors read tensors back (drop path's rates), which the meta device can't give.
            with torch.device("cpu"):
                model: nn.Module = timm.create_model(self.arch, num_classes=classes, **arguments)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "none"
            raise RunError(
                f"model.options and model.image_size must be options of {self.arch}; got {given}: {reason}"
            ) from error
        # What the classifier reads may be wider than the last maps.
        model.num_features = getattr(model, "head_hidden_size", model.num_features)
        return model.to(device)

    def pixels(self) -> int | None:
        """Side of the images that the network is built for, or else that its weights were trained on."""
        if self.image_size is not None:
            return self.image_size
        config = self._config()
        return (
            int(config.input_size[-1]) if config.fixed_input_size or config.url or config.hf_hub_id else None
        )

    def normalization(self) -> Normalization | None:
        """Mean and standard deviation of the published weights' images."""
        config = self._config()
        return _three(config.mean), _three(config.std)

    def weights_file(self) -> Path:
        """Return the file of the published weights: see ``Published.weights_file``."""
        config = self._config()
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
        hub = config.hf_hub_id or None
        # Weights of other frameworks (.npz) have copies on the hub.
        url = config.url if config.url and not config.url.endswith(".npz") else None
        if hub is None and url is None:
            raise RunError(
                f"{self.arch} has no published weights: leave --model.pretrained out, or take one of "
                "timm.list_pretrained()"
            )
        found = cached(hub, names, url)
        if found is None and self.download:
            found = download(hub, names, url)
        if found is None:
            raise RunError(
                f"published weights of {self.arch} must be in the cache; {hub or url} isn't: add "
                "--model.download, or name a file by --init-from in place of --model.pretrained"
            )
        return found

    def convert(self, state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
        """Return weights as timm's own filter of this family has them: renamed, positions resampled."""
        module = sys.modules[type(network).__module__]
        own = getattr(module, "checkpoint_filter_fn", None)
        if own is None:
            return state
        try:
            converted: Mapping[str, Tensor] = own(dict(state), network)
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError):
            # Weights of another network, which the loader refuses by their names.
            return state
        return converted

    def _arguments(self) -> dict[str, Any]:
        arguments = {}
        for option in self.options:
            name, equals, value = option.partition("=")
            if not equals or not name.isidentifier():
                raise RunError(f"model.options must be NAME=VALUE each; got {option!r}: write depth=6")
            try:
                arguments[name] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                # A word, as in global_pool=avg, or true.
                arguments[name] = {"true": True, "false": False}.get(value.lower(), value)
        return arguments

    def _config(self) -> Any:
        timm = _timm()
        if not timm.is_model(self.arch):
            known = timm.list_models()
            close = difflib.get_close_matches(self.arch, known, n=5, cutoff=0.5)
            hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists them"
            raise RunError(f"model.arch must be one of timm's networks; got {self.arch!r}: {hint}")
        try:
            config = timm.models.get_pretrained_cfg(self.arch)
        except RuntimeError:
            name = self.arch.partition(".")[0]
            tags = ", ".join(timm.list_pretrained(f"{name}.*")) or "none"
            raise RunError(
                f"model.arch must have a tag of published weights; got {self.arch!r}: {name} has {tags}"
            ) from None
        return config if config is not None else timm.models.PretrainedCfg()


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    return first, second, third


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise RunError(
            "model timm needs timm, and it is not installed: pip install 'budgetrain[timm]', or take "
            "--model torchvision"
        ) from None
    return timm
