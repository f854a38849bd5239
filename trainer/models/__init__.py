"""Models: one file per family, one line of the table per part."""

from __future__ import annotations

from trainer.models.protocol import Encoder, ModelConfig, check_encoder, parameters
from trainer.models.resnet import ResNet8, ResNet18, ResNet34, ResNet50
from trainer.models.torchvision import TorchvisionModel

MODELS: dict[str, type[ModelConfig]] = {
    "resnet8": ResNet8,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "torchvision": TorchvisionModel,
}

__all__ = [
    "MODELS",
    "Encoder",
    "ModelConfig",
    "ResNet8",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "TorchvisionModel",
    "check_encoder",
    "parameters",
]
