"""Forward passes that score candidates: without gradients, and without a trace in the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.inference.fuse_batchnorm import Folding
from trainer.inference.predict import forward, last_linear
from trainer.precision import at_least_float32


class Scorer:
    """A network as it scores.

    Parameters
    ----------
    mode
        "eval" for the statistics that the network has gathered, "train" for those of the images at hand.
        Neither changes what it has gathered. In "eval" batch normalisation is folded into the convolutions:
        outputs differ from the network's own by rounding.
    bf16
        Whether passes run under bf16 autocast.
    compiled
        Whether torch.compile makes programs of the passes, one a resolution.
    keeps_features
        Whether ``features`` is wanted.

    Attributes
    ----------
    features
        float32[n, d], what the last linear layer was given in the pass just made.

    Raises
    ------
    RunError
        When features are wanted of a network without a linear layer.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: Literal["eval", "train"],
        *,
        bf16: bool,
        compiled: bool = False,
        keeps_features: bool = False,
    ) -> None:
        self.features: Tensor | None = None
        self._model = model
        self._mode = mode
        self._bf16 = bf16
        self._network: nn.Module = model
        if compiled:
            self._network = torch.compile(model, dynamic=False)  # type: ignore[assignment]
        if keeps_features:
            last_linear(model).register_forward_pre_hook(self._keep_features)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Outputs float32[n, classes] of normalised images [n, 3, H, W]."""
        training = self._model.training
        self._model.train(self._mode == "train")
        try:
            with _forgetful(self._model) if self._mode == "train" else self._folding():
                return at_least_float32(forward(self._network, images, self._bf16))
        finally:
            self._model.train(training)

    @cached_property
    def _folding(self) -> Folding:
        """Made for the first pass: a run that never scores needs no second copy of its weights."""
        return Folding(self._model, torch.bfloat16 if self._bf16 else None)

    def _keep_features(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if not torch.is_grad_enabled():
            self.features = at_least_float32(given[0].detach()).flatten(1)


@contextmanager
def _forgetful(model: nn.Module) -> Iterator[None]:
    """Let batch normalisation go by the images at hand and gather nothing of them."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value
