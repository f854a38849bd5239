"""Unsupervised batch normalization: a method whose statistics are those of unlabelled images, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import TargetKind
from trainer.errors import RunError
from trainer.methods.protocol import Losses, Method, MethodConfig, Offer
from trainer.methods.unsupervised_norm import convert, given_statistics, updating_statistics
from trainer.metrics import Metric

UNLABELLED = "unlabelled"
"""Name of the stream."""

Statistics = Literal["ubn", "ubn_joint", "ubn_unlabelled", "bn"]


class _Shared(nn.Module):
    """An encoder that another module owns, normalized in training by further images as well.

    Attributes
    ----------
    statistics
        See `UnsupervisedBatchNorm`.
    unlabelled
        float[m, C, H, W], the further images; None for plain passes.
    """

    def __init__(self, encoder: nn.Module, statistics: Statistics) -> None:
        super().__init__()
        # In a tuple: its parameters are the owner's.
        self._of = (encoder,)
        self.statistics = statistics
        self.unlabelled: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs of images float[n, C, H, W]."""
        (encoder,), further = self._of, self.unlabelled
        if further is None or not self.training:
            return encoder(images)  # type: ignore[no-any-return]
        if self.statistics == "ubn_joint":
            return encoder(torch.cat([images, further]))[: len(images)]  # type: ignore[no-any-return]
        with updating_statistics(encoder):
            encoder(further if self.statistics == "ubn_unlabelled" else torch.cat([images, further]))
        with given_statistics(encoder):
            return encoder(images)  # type: ignore[no-any-return]


class UnsupervisedBatchNormMethod(Method):
    """Another method, whose encoder is normalized by the statistics of unlabelled images, too.

    Parameters
    ----------
    encoder
        Network with batch normalization.
    of
        Builds the other method.
    statistics, synchronized
        See `UnsupervisedBatchNorm`.
    """

    def __init__(
        self, encoder: nn.Module, of: MethodConfig, statistics: Statistics, synchronized: bool
    ) -> None:
        super().__init__(encoder if statistics == "bn" else convert(encoder, synchronized=synchronized))
        self._shared = _Shared(encoder, statistics)
        self.of = of.build(encoder)
        self.of.encoder = self._shared

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the losses of the labelled images: see ``Method.forward``."""
        takes = self._shared.statistics != "bn"
        self._shared.unlabelled = streams[UNLABELLED].images if takes else None
        try:
            return self.of(batch)  # type: ignore[no-any-return]
        finally:
            self._shared.unlabelled = None

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Return the losses of a scoring pass: see ``Method.losses``."""
        return self.of.losses(outputs, labels)

    def begin(self, counts: Any) -> None:
        """Take in how many samples each class has: see ``Method.begin``."""
        self.of.begin(counts)

    def after_step(self, progress: float) -> None:
        """Update what follows the weights: see ``Method.after_step``."""
        self.of.after_step(progress)


@dataclass(frozen=True)
class UnsupervisedBatchNorm:
    """Few labels: batch normalization by the statistics of labelled and unlabelled images together.

    Kocyigit (2023), chapter 2, eq. 2.1-2.4. Every step passes its images x and a batch y of the stream
    `unlabelled` forward without gradient, and keeps each layer's mean and variance; a second pass of x alone
    is normalized by these and gives the gradient, in which they are constants. At test time the moving
    averages, of x and y, are used as ever. A step costs (|x| + |y| + 3|x|) / 3|x| plain ones: 1.67 for as
    many unlabelled images as labelled ones.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()

    of: str = "supervised"
    """Method that learns from the labelled images, with its options at their defaults; one of one view."""

    statistics: Statistics = "ubn"
    """Statistics of training: ubn takes those of x and y, as constants; ubn_joint those of x and y in one
    pass, with the gradient through them; ubn_unlabelled those of y alone; bn those of x, without a stream."""

    synchronized: bool = False
    """Whether statistics are those of all ranks, not of each rank's images."""

    def __post_init__(self) -> None:
        from trainer.methods import METHODS

        fitting = [name for name, kind in METHODS.items() if _fits(kind)]
        if self.of not in fitting:
            raise RunError(
                f"method.of must be a method of one view without streams of its own; got {self.of!r}: take "
                f"one of {', '.join(fitting)}"
            )

    @property
    def _config(self) -> MethodConfig:
        from trainer.methods import METHODS

        return METHODS[self.of]()

    @property
    def views(self) -> int:
        """See `MethodConfig`."""
        return self._config.views

    @property
    def streams(self) -> tuple[str, ...]:
        """See `MethodConfig`."""
        return () if self.statistics == "bn" else (UNLABELLED,)

    @property
    def targets(self) -> Mapping[str, TargetKind]:
        """See `MethodConfig`."""
        return self._config.targets

    @property
    def offers(self) -> tuple[Offer, ...]:
        """See `MethodConfig`."""
        return self._config.offers

    def build(self, encoder: nn.Module) -> UnsupervisedBatchNormMethod:
        """Return the method: see ``MethodConfig.build``.

        Raises
        ------
        RunError
            If the network has no batch normalization.
        """
        if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules()):
            raise RunError(
                "method ubn needs a model with batch normalization; this one has none: take resnet18, "
                "say, or --method supervised"
            )
        return UnsupervisedBatchNormMethod(encoder, self._config, self.statistics, self.synchronized)


def _fits(kind: type[Any]) -> bool:
    """Whether a method's config learns from one view of labelled images alone, with its defaults."""
    return kind is not UnsupervisedBatchNorm and kind().views == 1 and not kind().streams
