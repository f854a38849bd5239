"""torchvision's models as encoders, and their options."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torchvision import models

from trainer.errors import RunError
from trainer.inference.scorer import Scorer
from trainer.models import TorchvisionModel, check_encoder


@pytest.mark.parametrize("arch", ["googlenet", "regnet_x_400mf", "vit_b_32", "mobilenet_v3_small"])
def test_torchvision_models_give_plain_logits(arch: str) -> None:
    with torch.device("meta"):
        model = TorchvisionModel(arch).build(5)
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 5)


@pytest.mark.parametrize(
    ("arch", "read"),
    [
        ("alexnet", 4096),
        ("vgg11_bn", 4096),
        ("densenet121", 1024),
        ("googlenet", 1024),
        ("inception_v3", 2048),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("mnasnet0_5", 1280),
        ("shufflenet_v2_x0_5", 1024),
        ("efficientnet_b0", 1280),
        ("regnet_x_400mf", 400),
        ("convnext_tiny", 768),
        ("swin_t", 768),
        ("vit_b_32", 768),
        ("maxvit_t", 512),
    ],
)
def test_torchvision_models_are_encoders_under_their_own_names(arch: str, read: int) -> None:
    side = 299 if arch == "inception_v3" else 224
    with torch.device("meta"):
        encoder = check_encoder(TorchvisionModel(arch).build(5))
        images = torch.empty(2, 3, side, side)
        features = encoder.forward_features(images)
        assert encoder.forward_head(features, pre_logits=True).shape == (2, encoder.num_features) == (2, read)
        assert encoder.forward_head(features).shape == encoder(images).shape == (2, 5)  # type: ignore[operator]
    options = {"aux_logits": False, "init_weights": False} if arch in ("googlenet", "inception_v3") else {}
    theirs = models.get_model(arch, num_classes=5, **options)
    assert isinstance(encoder, type(theirs))
    assert encoder.state_dict().keys() == theirs.state_dict().keys()
    assert copy.deepcopy(encoder).state_dict().keys() == theirs.state_dict().keys()


def test_a_network_without_verbs_is_trained_but_gives_no_features() -> None:
    with torch.device("meta"):
        network = TorchvisionModel("squeezenet1_1").build(5)
        assert network(torch.empty(2, 3, 64, 64)).shape == (2, 5)
    with pytest.raises(
        RunError, match=r"features are those of a network with forward_features, .* SqueezeNet"
    ):
        check_encoder(network)
    with pytest.raises(RunError, match="SqueezeNet"):
        Scorer(network, "eval", bf16=False, keeps_features=True)


def test_image_size_makes_a_transformer_for_small_images() -> None:
    with torch.device("meta"):
        model = TorchvisionModel("vit_b_16", image_size=32).build(5)
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "resnet19"}, "got 'resnet19': did you mean .*resnet18"),
        ({"arch": "qqqq"}, "got 'qqqq': choose among alexnet, "),
        ({"arch": "fcn_resnet50"}, "one of torchvision's classifiers"),
        ({"arch": "resnet18", "image_size": 32}, "got 32 for resnet18: leave it out"),
        ({"arch": "vit_b_16", "image_size": 0}, "image_size must be at least 1 px; got 0"),
    ],
)
def test_torchvision_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as error:
        TorchvisionModel(**options)
    assert "\n" not in str(error.value)


def test_an_unsuitable_image_size_is_one_line() -> None:
    with pytest.raises(RunError, match="image_size must suit vit_b_16; got 30: ") as error:
        TorchvisionModel("vit_b_16", image_size=30).build(5)
    assert "\n" not in str(error.value)
