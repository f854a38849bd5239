"""Distillation: an encoder follows a trained network's probabilities beside the labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline import Batch
from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.methods.classification import ClassificationConfig, ClassificationMethod, ClassLoss
from trainer.methods.protocol import Losses
from trainer.models import Encoder
from trainer.models.channels import with_channels


class DistillationMethod(ClassificationMethod):
    """Trains an encoder by labels and by a teacher, which sees the same images and is not trained.

    Parameters
    ----------
    teacher
        From images to logits of the same classes; stays in evaluation mode.
    weight, temperature
        Of the teacher's part: see `Distillation`.
    """

    def __init__(
        self, encoder: nn.Module, loss: ClassLoss, teacher: nn.Module, weight: float, temperature: float
    ) -> None:
        super().__init__(encoder, loss)
        self.teacher = teacher.requires_grad_(False).eval()
        self._weight = weight
        self._temperature = temperature

    def train(self, mode: bool = True) -> DistillationMethod:
        """Set the encoder's mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return losses and class statistics of each constituent: see ``Method.forward``."""
        outputs = self.encoder(batch.images)
        with torch.no_grad():
            theirs = self._softened(self.teacher(batch.images))
        labels = batch.constituents(batch.targets["label"])
        losses = self.losses(outputs, labels)
        divergence = (theirs.exp() * (theirs - self._softened(outputs))).sum(dim=1, keepdim=True)
        part = self._weight * self._temperature**2 * divergence
        return replace(losses, loss=(1 - self._weight) * losses.loss + part)

    def _softened(self, outputs: Tensor) -> Tensor:
        return torch.log_softmax(at_least_float32(outputs) / self._temperature, dim=1)


@dataclass(frozen=True)
class Distillation(ClassificationConfig):
    """Classification by labels and by the probabilities of a trained network, the teacher.

    Hinton et al. (2015): with logits z of the encoder and t of the teacher, temperature T and weight a ::

        loss = (1 - a) cross-entropy(z, y) + a T^2 KL(softmax(t / T) || softmax(z / T))

    Scoring passes are of the encoder alone: a selection, and a sampler that requests scores, choose by its
    cross-entropy, without the teacher's part. The teacher sees the very images that are trained on, mixed
    ones too (Beyer et al. 2022), normalized by this run's mean and standard deviation. Its forward pass is
    part of a step's FLOPs. Weight and temperature are those of Tian et al. (2020).
    """

    teacher: Path | None = None
    """The teacher's run: its folder, or a checkpoint of it; required. Its averaged weights are taken where it
    kept an average."""

    weight: float = 0.9
    """Weight a of the teacher's part, in [0, 1]; 1 leaves the labels out."""

    temperature: float = 4.0
    """Temperature T of both softmaxes in the teacher's part."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise RunError(f"method.weight must be from 0 to 1; got {self.weight:g}")
        if not 0 < self.temperature < float("inf"):
            raise RunError(f"method.temperature must be above 0 and finite; got {self.temperature:g}")
        if self.teacher is not None and self.teacher.is_dir():
            object.__setattr__(self, "teacher", self.teacher / "checkpoint" / "last.pt")

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image against each constituent's label, in nats."""
        return -log_p.gather(1, labels)

    def build(self, encoder: nn.Module) -> DistillationMethod:
        """Return the method: see ``MethodConfig.build``.

        Raises
        ------
        RunError
            When no teacher is named, or it can't be read or has other classes than ``encoder``.
        """
        if self.teacher is None:
            raise RunError(
                "method distillation needs a teacher, the folder of a run or a checkpoint of it; got none: "
                "add --method.teacher runs/NAME"
            )
        teacher = trained_network(self.teacher, _classes(encoder), _channels(encoder))
        return DistillationMethod(encoder, self.loss, teacher, self.weight, self.temperature)


def trained_network(path: Path, classes: int, channels: int = 3) -> nn.Module:
    """Return the network of a run with the weights of one of its checkpoints.

    Made under ``torch.device("meta")`` it has no weights.

    Raises
    ------
    RunError
        When the checkpoint can't be read, or its network has another number of classes.
    """
    # These modules import the table of methods, which holds this one's.
    from trainer import checkpoint, recipe
    from trainer.weights import evaluated

    state = checkpoint.load(path)
    model = recipe.from_table({"model": state["settings"]["model"]}, where=str(path)).model
    network = with_channels(model.build(classes=classes), channels)
    if next(network.parameters()).is_meta:
        return network
    try:
        network.load_state_dict(evaluated(state))
    except RuntimeError as error:
        fault = " ".join(str(error).partition("\n")[2].split())[:160]
        raise RunError(
            f"method.teacher must be a network of the {classes} classes that are trained, and of images of "
            f"{channels} channels; {path} doesn't fit: {fault}"
        ) from error
    return network


def _channels(encoder: nn.Module) -> int:
    """Return the channels of the images that the first convolution takes, 3 without one."""
    convolutions = (module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    return next((module.in_channels for module in convolutions), 3)


def _classes(encoder: nn.Module) -> int:
    """Return the number of logits: outputs of the classifier, or of whatever layer comes last."""
    last = encoder.get_classifier() if isinstance(encoder, Encoder) else None
    if isinstance(last, nn.Linear):
        return last.out_features
    return len(list(encoder.parameters())[-1])
