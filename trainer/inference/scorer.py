"""Scoring passes over candidates: without gradients, and without changing the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.inference.fuse_batchnorm import Folding
from trainer.inference.predict import PreLogits, forward
from trainer.models import check_encoder
from trainer.precision import at_least_float32


class Scorer:
    """Runs scoring passes of a network.

    Parameters
    ----------
    mode
        "eval" normalizes by the network's running statistics, "train" by those of the batch. Neither changes
        the running statistics. In "eval" batch normalization is folded into the convolutions:
        outputs differ from the network's own by rounding.
    bf16
        Whether passes run under bf16 autocast.
    compiled
        Whether the passes are compiled by torch.compile, one graph per resolution.
    keeps_features
        Whether to keep ``features``.

    Attributes
    ----------
    features
        float32[n, d], the classifier's inputs in the last pass.

    Raises
    ------
    RunError
        When features are requested of a network that lacks an encoder's methods.
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
        self._classifier = check_encoder(model).get_classifier() if keeps_features else None
        self._network: nn.Module = PreLogits(model) if keeps_features else model
        if compiled:
            self._network = torch.compile(self._network, dynamic=False)  # type: ignore[assignment]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return outputs, float32[n, classes], of normalized images [n, 3, H, W]."""
        training = self._model.training
        self._model.train(self._mode == "train")
        try:
            with _forgetful(self._model) if self._mode == "train" else self._folding():
                outputs = forward(self._network, images, self._bf16)
                if self._classifier is not None:
                    self.features = at_least_float32(outputs)
                    outputs = forward(self._classifier, outputs, self._bf16)
                return at_least_float32(outputs)
        finally:
            self._model.train(training)

    @cached_property
    def _folding(self) -> Folding:
        """The folded network, made for the first pass: runs without scoring need no copy of weights."""
        return Folding(self._model, torch.bfloat16 if self._bf16 else None)


@contextmanager
def _forgetful(model: nn.Module) -> Iterator[None]:
    """Return a context in which batch normalization uses the batch's statistics without updating its own."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value
