"""Registry of models: one file per family, one table line per model."""

from __future__ import annotations

from trainer.models.googlenet import GoogLeNet
from trainer.models.lenet import LeNet
from trainer.models.protocol import (
    DataInitialized,
    Encoder,
    ModelConfig,
    Normalization,
    Published,
    check_encoder,
    parameters,
)
from trainer.models.pyramidnet import PyramidNet110, PyramidNet164
from trainer.models.resnet import ResNet8, ResNet18, ResNet34, ResNet50, ResNet101, ResNet152
from trainer.models.timm import TimmModel
from trainer.models.torchvision import TorchvisionModel
from trainer.models.vit import ViTS16
from trainer.models.whitened import WhitenedCNN

MODELS: dict[str, type[ModelConfig]] = {
    "resnet8": ResNet8,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "resnet101": ResNet101,
    "resnet152": ResNet152,
    "lenet": LeNet,
    "googlenet": GoogLeNet,
    "pyramidnet110": PyramidNet110,
    "pyramidnet164": PyramidNet164,
    "vit_s16": ViTS16,
    "whitened_cnn": WhitenedCNN,
    "torchvision": TorchvisionModel,
    "timm": TimmModel,
}

__all__ = [
    "MODELS",
    "DataInitialized",
    "Encoder",
    "GoogLeNet",
    "LeNet",
    "ModelConfig",
    "Normalization",
    "Published",
    "PyramidNet110",
    "PyramidNet164",
    "ResNet8",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "TimmModel",
    "TorchvisionModel",
    "ViTS16",
    "WhitenedCNN",
    "check_encoder",
    "parameters",
]
