"""Scoring passes: the network's own outputs, with batch normalization folded, and no trace in the network."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations

from trainer.inference.scorer import Folding, Scorer
from trainer.models import MODELS
from trainer.models.pyramidnet import PyramidNet
from trainer.models.resnet import ResNet8
from trainer.models.torchvision import TorchvisionModel


def trained(model: nn.Module) -> nn.Module:
    """Set every normalization's statistics, a scale and a shift of its own, as training would."""
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if (
            isinstance(norm, nn.BatchNorm2d)
            and norm.running_mean is not None
            and norm.running_var is not None
        ):
            norm.running_mean.normal_(std=0.2, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(norm.bias, std=0.2, generator=generator)
    return model


def images(pixels: int = 32) -> Tensor:
    return torch.randn(4, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))


def compare(model: nn.Module, folded: int, pixels: int = 32) -> None:
    """A network gives the same outputs folded, as many pairs of it as expected, and is itself afterwards."""
    model = trained(model).eval()
    before = copy.deepcopy(model.state_dict())
    folding = Folding(model, torch.float32)
    assert len(folding) == folded
    with torch.no_grad():
        expected = model(images(pixels))
        for _ in range(2):
            with folding():
                torch.testing.assert_close(model(images(pixels)), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(model(images(pixels)), expected)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "resnet34", "resnet50", "googlenet"])
def test_our_networks_fold_whole(name: str) -> None:
    model = MODELS[name]().build(classes=10)
    compare(model, sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()))


@pytest.mark.parametrize("bottleneck", [False, True])
def test_pyramids_fold_all_norms_behind_convolutions(bottleneck: bool) -> None:
    """Not those that a block of two or three convolutions begins with, nor the last."""
    compare(PyramidNet(2, 6, bottleneck, 10), 6 * (2 + bottleneck) + 1)


@pytest.mark.parametrize(
    ("arch", "folded"),
    [("resnet18", 20), ("mobilenet_v3_small", 34), ("regnet_x_400mf", 71), ("squeezenet1_0", 0)],
)
def test_networks_of_torchvision_fold(arch: str, folded: int) -> None:
    compare(TorchvisionModel(arch).build(classes=10), folded, pixels=64)


def test_normalizations_before_their_convolutions_stay() -> None:
    compare(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten()), 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_biases_groups_and_padding_fold_too(bias: bool, affine: bool) -> None:
    conv = nn.Conv2d(6, 8, 3, 2, padding=2, dilation=2, groups=2, bias=bias, padding_mode="reflect")
    norm = nn.BatchNorm2d(8, affine=affine, eps=0.1)
    compare(nn.Sequential(nn.Conv2d(3, 6, 1), conv, norm, nn.ReLU(), nn.Flatten()), 1)


class Twice(nn.Module):
    """A convolution whose output, weight or module has a second use: ``how`` says which."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.scale = 2.0
        if how == "registered":
            self.other = self.conv
        self.hidden = [self.conv]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor
        if self.how == "output":
            z = self.conv(x)
            y = self.norm(z) + z
        elif self.how == "weight":
            y = self.norm(self.conv(x)) + self.conv.weight.sum()
        elif self.how == "called":
            y = self.norm(self.conv(self.conv(x)))
        elif self.how == "registered":
            y = self.norm(self.other(x))
        elif self.how == "hidden":
            y = self.norm(self.hidden[0](x))
        elif self.how == "untraceable":
            y = self.norm(self.conv(x))
            if y.sum() > 0:
                y = y * 2
        else:
            y = self.norm(self.conv(x)) * self.scale
        return y.flatten(1)


@pytest.mark.parametrize("how", ["output", "weight", "called", "registered", "hidden", "untraceable"])
def test_what_is_used_twice_or_cannot_be_followed_stays(how: str) -> None:
    compare(Twice(how), 0)


def test_what_a_network_changes_about_itself_holds_folded() -> None:
    model = Twice("once")
    compare(model, 1)
    model.scale = 3.0
    compare(model, 1)


def test_parametrised_and_hooked_modules_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    parametrizations.weight_norm(model[0])
    compare(model, 0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    model[1].register_forward_hook(lambda module, given, output: output + 1)
    compare(model, 0)


def test_a_folded_network_follows_its_training() -> None:
    model = trained(ResNet8(width=4).build(classes=5))
    scorer = Scorer(model, "eval", bf16=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model.train()
        F.cross_entropy(model(images()), torch.arange(4)).backward()
        optimizer.step()
        scored = scorer(images())
        assert model.training
        model.eval()
        with torch.no_grad():
            torch.testing.assert_close(scored, model(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_folding_in_bf16_rounds_no_worse_than_autocast_does(layout: torch.memory_format) -> None:
    # One network's error may be twice another's: ten are compared, always the same ones.
    given, ours, theirs = images().to(memory_format=layout), 0.0, 0.0
    for seed in range(10):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = trained(MODELS["resnet8"]().build(classes=10)).to(memory_format=layout).eval()
        with torch.no_grad():
            exact = model.double()(given.double())
            model.float()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rounded = model(given)
        scored = Scorer(model, "eval", bf16=True)(given)
        assert scored.dtype == torch.float32
        ours += (scored - exact).square().sum().item()
        theirs += (rounded.double() - exact).square().sum().item()
    assert 0 < ours < 1.5 * theirs


def test_in_train_mode_scores_are_those_of_the_images_at_hand() -> None:
    model = trained(ResNet8(width=4).build(classes=5)).eval()
    before = copy.deepcopy(model.state_dict())
    scored = Scorer(model, "train", bf16=False)(images())
    assert not model.training
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    model.train()
    with torch.no_grad():
        torch.testing.assert_close(scored, model(images()))


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_scoring_never_waits_for_the_device(mode: Literal["eval", "train"]) -> None:
    """On fake CUDA tensors .item(), a data-dependent shape and a tensor left on the host all raise."""
    with FakeTensorMode(), torch.device("cuda"):
        model = ResNet8(width=4).build(classes=5)
        scored = Scorer(model, mode, bf16=False)(torch.empty(4, 3, 32, 32))
    assert scored.shape == (4, 5)
    assert scored.device.type == "cuda"


def test_features_are_what_the_last_linear_layer_was_given() -> None:
    model = trained(ResNet8(width=4).build(classes=5))
    scorer = Scorer(model, "eval", bf16=False, keeps_features=True)
    outputs = scorer(images())
    assert scorer.features is not None
    assert scorer.features.shape == (4, 16)
    torch.testing.assert_close(model.head(scorer.features), outputs)  # type: ignore[operator]


def test_an_error_in_a_pass_leaves_the_network_as_it_was() -> None:
    model = trained(ResNet8(width=4).build(classes=5))
    modules = dict(model.named_modules())
    with pytest.raises(RuntimeError):
        Scorer(model, "eval", bf16=False)(torch.zeros(1, 7, 8, 8))
    assert dict(model.named_modules()) == modules
    assert model.training
