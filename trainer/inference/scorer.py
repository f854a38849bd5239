"""Forward passes that score candidates: without gradients or a trace in the network, normalization folded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.hardware.compiling import compiled_by_resolution
from trainer.hardware.precision import autocast
from trainer.inference.fuse_batchnorm import find_pairs, trace
from trainer.inference.predict import PreLogits
from trainer.models import check_encoder


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
        first = next(model.parameters())
        self._precision = autocast(first.device, bf16)
        self._dtype = torch.promote_types(first.dtype, torch.float32)
        self._classifier = check_encoder(model).get_classifier() if keeps_features else None
        self._network: nn.Module = PreLogits(model) if keeps_features else model
        if compiled:
            self._network = compiled_by_resolution(self._network)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return outputs, float32[n, classes], of normalized images [n, 3, H, W]."""
        training = self._model.training
        self._model.train(self._mode == "train")
        try:
            with forgetful(self._model) if self._mode == "train" else self._folding():
                with self._precision:
                    outputs: Tensor = self._network(images)
                    if self._classifier is not None:
                        self.features = outputs.to(self._dtype)
                        outputs = self._classifier(outputs)
                return outputs.to(self._dtype)
        finally:
            self._model.train(training)

    @cached_property
    def _folding(self) -> Folding:
        """The folded network, made for the first pass: runs without scoring need no copy of weights."""
        return Folding(self._model, torch.bfloat16 if self._bf16 else None)


class Folding:
    """A network whose convolutions do the work of the batch normalizations behind them, while asked to.

    In evaluation mode a normalization scales and shifts each channel by constants, which the weights of the
    convolution before it can hold: that saves a pass over every map, and under bf16 the casts of the weights.
    The network's own code runs as ever, with those modules swapped; its parameters and statistics stay.

    A convolution is folded where torch.fx sees its output go into one normalization and nowhere else. A
    network that torch.fx can't follow, or that has no such pair, stays as it is.

    Parameters
    ----------
    model
        On its device, in its memory format.
    dtype
        Of the folded weights: what the passes compute in. None keeps that of the network's own.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None = None) -> None:
        self._places, self._pairs = find_pairs(model, dtype)
        with self._swapped():
            # A module that its network also calls by another way than its name would be left where it was.
            followed = trace(model) is not None
        if not followed:
            self._places, self._pairs = [], []

    def __len__(self) -> int:
        """How many normalizations are folded."""
        return len(self._pairs)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let the network, in evaluation mode, run with its present weights and statistics folded."""
        if self._pairs:
            self._fold()
        with self._swapped():
            yield

    @torch.no_grad()
    def _fold(self) -> None:
        """Fold all pairs: a few operations over lists of tensors, as a GPU would wait for many small ones."""
        pairs = self._pairs
        scales = torch._foreach_add([pair.variance for pair in pairs], [pair.norm.eps for pair in pairs])
        torch._foreach_rsqrt_(scales)
        torch._foreach_mul_(scales, [pair.scale for pair in pairs])
        means = torch._foreach_sub([pair.mean for pair in pairs], [pair.conv_bias for pair in pairs])
        torch._foreach_mul_(means, scales)
        shifts = torch._foreach_sub([pair.shift for pair in pairs], means)
        # Multiplying into bf16 at once is five times slower on a CPU.
        weights = [
            pair.conv.weight * scale.view(-1, 1, 1, 1) for pair, scale in zip(pairs, scales, strict=True)
        ]
        torch._foreach_copy_([pair.folded.weight for pair in pairs], weights)
        torch._foreach_copy_([pair.folded.bias for pair in pairs], shifts)  # type: ignore[misc]

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        mine: list[nn.Module] = []
        theirs: list[nn.Module] = []
        for pair in self._pairs:
            mine += pair.folded, pair.nothing
            theirs += pair.conv, pair.norm
        self._put(mine)
        try:
            yield
        finally:
            self._put(theirs)

    def _put(self, modules: list[nn.Module]) -> None:
        for (parent, name), module in zip(self._places, modules, strict=True):
            parent._modules[name] = module


@contextmanager
def forgetful(model: nn.Module) -> Iterator[None]:
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
