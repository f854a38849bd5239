"""Protocols of learning methods: a module from batches to losses, and the config that builds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Protocol

from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import TargetKind
from trainer.metrics import Metric

Offer = Literal["p_true", "error", "correct", "scores", "pairs"]
"""Optional capabilities of methods: attributes of `Losses`, `Method.losses` for scoring passes, and
`Method.pair_losses` for those of pairs of views."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch of n images with k constituents each; the other statistics only for classes.

    Attributes
    ----------
    loss
        float32[n, k], the loss of each image against each constituent's target, or [n, 1] if a method has no
        targets; carries the gradient.
    p_true
        float32[n, k], the probability of each constituent's label; detached.
    error
        float32[n, k], the norm of softmax - onehot(the constituent's label); detached.
    correct
        bool[n, k], whether the constituent's label is the prediction.
    """

    loss: Tensor
    p_true: Tensor | None = None
    error: Tensor | None = None
    correct: Tensor | None = None

    def __repr__(self) -> str:
        columns = [item.name for item in fields(self) if getattr(self, item.name) is not None]
        return f"Losses({'x'.join(map(str, self.loss.shape))} {', '.join(columns)} on {self.loss.device})"


class Method(nn.Module):
    """A learning method: owns every module that is trained, averaged or saved.

    Data parallelism, torch.compile, the optimizer and checkpoints take the method as a whole; evaluation,
    scoring and exports take its encoder. A part that isn't trained (a teacher) has parameters that require no
    gradient; every other parameter must contribute to every loss, as data parallelism requires.

    Parameters
    ----------
    encoder
        The network that is evaluated, scored and exported.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the losses of an augmented batch, in training mode, without waiting for the device.

        Under bf16 the whole pass runs under autocast. The training step applies the weights of
        samplers and selections, and the mean over constituents and images.

        Parameters
        ----------
        batch
            Batch with as many views as the method's config requires.
        streams
            One batch per further stream that the config names.
        """
        raise NotImplementedError

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Return the losses of the encoder's outputs in a scoring pass, for methods that offer scores.

        Parameters
        ----------
        outputs
            float[n, classes]
        labels
            int64[n, k]
        """
        raise NotImplementedError

    def pair_outputs(self, view: Tensor) -> Sequence[Tensor]:
        """Return what pairs of views are scored by, for methods that offer pairs: the embeddings last.

        Outputs of the trained networks alone for images [n, C, H, W], float[n, ...] each.
        """
        raise NotImplementedError

    def pair_losses(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the part of the loss that depends on a pair alone, of all pairs: float[n, m, m], symmetric.

        Parameters
        ----------
        outputs
            Those of `pair_outputs`, stacked over m views: float[n, m, ...] each.
        """
        raise NotImplementedError

    def begin(self, counts: Sequence[int]) -> None:
        """Take in how many samples of the training set each class has; by default nothing.

        Called once, before the method is moved to its device. Of multi-label sets the counts are those of
        images with each label; of others there are none.
        """

    def measured(self) -> Mapping[str, Tensor]:
        """Return scalars on the device by the names of the config's ``metrics``; by default none.

        What the method knows of its last steps, recorded with every evaluation: whether it has collapsed.
        """
        return {}

    def after_step(self, progress: float) -> None:
        """Update modules that follow the trained weights (an average, a queue); by default a no-op.

        Parameters
        ----------
        progress
            Fraction of the budget spent, this step's cost included, in (0, 1].
        """


class MethodConfig(Protocol):
    """A frozen dataclass whose fields are the method's options."""

    @property
    def views(self) -> int:
        """Number of augmented views of each image in a batch."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of further streams of images, of which every step takes a batch."""

    @property
    def targets(self) -> Mapping[str, TargetKind]:
        """Kind of each target that a batch must have, by name; empty if it learns from images alone."""

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The statistics that its method provides beyond the loss, for samplers and selections."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of training itself, which evaluations record beside the evaluators'."""

    def build(self, encoder: nn.Module) -> Method:
        """Return the method of a freshly initialized ``encoder``, on the encoder's device.

        Initial weights of further modules come from torch's global generator.
        """
