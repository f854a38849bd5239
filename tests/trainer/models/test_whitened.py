"""The network behind a whitening layer: its filters, its beginning as an identity, and runs with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline import Loader
from samplers import Order
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.inference.fuse_batchnorm import find_pairs
from trainer.loop import train
from trainer.models import DataInitialized, WhitenedCNN, parameters
from trainer.models.channels import with_channels
from trainer.models.whitened import WhitenedNetwork
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

SMALL = WhitenedCNN(widths=(4, 8, 8), whitening_eps=1e-6)


def images(channels: int = 3) -> torch.Tensor:
    """Images whose pixels go with those beside them."""
    noise = torch.randn(40, channels, 12, 12, generator=torch.Generator().manual_seed(0))
    return F.avg_pool2d(noise, 3, 1, 1) + 0.1 * noise


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_whiten_the_patches_that_they_were_made_of(channels: int) -> None:
    network = with_channels(SMALL.build(10), channels)
    assert isinstance(network, DataInitialized)
    shown = images(channels)
    network.begin_from(shown.split(15))
    with torch.no_grad():
        maps = F.conv2d(shown, network.whiten.weight).transpose(0, 1).flatten(1).double()  # type: ignore[arg-type]
    half = 4 * channels
    first, second = maps[:half], maps[half : 2 * half]
    torch.testing.assert_close(second, -first)
    torch.testing.assert_close(
        first @ first.T / first.shape[1], torch.eye(half).double(), rtol=1e-3, atol=1e-3
    )
    # Gray images have fewer directions than the layer has filters.
    torch.testing.assert_close(maps[: len(maps) - 2 * half], maps[2 * half :])


def test_filters_depend_on_the_images_alone() -> None:
    first, second = SMALL.build(10), SMALL.build(10)
    first.begin_from([images()])
    second.begin_from(images().split(7))
    torch.testing.assert_close(first.whiten.weight, second.whiten.weight)
    flat = first.whiten.weight[:12].flatten(1)
    assert (flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_convolutions_begin_by_passing_channels_on() -> None:
    network = WhitenedCNN(widths=(8, 16, 16)).build(10)
    shown = torch.randn(2, 8, 5, 5)
    conv = network.groups[1].conv1
    torch.testing.assert_close(conv(shown)[:, :8], shown)  # type: ignore[operator]


def test_outputs_are_scaled_and_the_heads_weights_have_a_deviation_of_one() -> None:
    network = SMALL.build(10)
    features = torch.randn(3, 8)
    assert network.head.weight.std().item() == pytest.approx(1)  # type: ignore[operator]
    torch.testing.assert_close(network.head(features), F.linear(features, network.head.weight) / 8)  # type: ignore[arg-type]
    usual = WhitenedCNN(widths=(4, 8, 8), unit_head=False).build(10)
    # Uniform within 1 / sqrt(8).
    assert usual.head.weight.abs().max().item() < 8**-0.5  # type: ignore[operator]
    scaled = WhitenedCNN(widths=(4, 8, 8), scale=2.0).build(10)
    torch.testing.assert_close(scaled.head(features), 2 * F.linear(features, scaled.head.weight))  # type: ignore[arg-type]


def test_neither_the_filters_nor_the_norms_scales_are_trained() -> None:
    network = WhitenedCNN().build(10)
    convolutions = sum(
        9 * a * b for a, b in ((24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256))
    )
    assert parameters(network) == 24 + convolutions + 2 * (64 + 256 + 256) + 2560
    assert {"whiten.weight", "groups.0.norm1.weight"} <= network.state_dict().keys()


def test_a_third_convolution_has_a_shortcut() -> None:
    network = WhitenedCNN(widths=(4, 8, 8), depth=3).build(10).eval()
    group = network.groups[0]
    nn.init.zeros_(group.conv3.weight)  # type: ignore[arg-type]
    x = torch.randn(2, 24, 8, 8)
    with torch.no_grad():
        first = F.gelu(group.norm1(F.max_pool2d(group.conv1(x), 2)))  # type: ignore[operator]
        torch.testing.assert_close(group(x), F.gelu(first))


def test_scoring_folds_its_norms_where_a_convolution_is_right_before() -> None:
    places, _ = find_pairs(SMALL.build(10), None)
    assert [name for _, name in places] == ["conv2", "norm2"] * 3


def test_a_run_begins_from_its_images_and_resumes_with_the_filters_that_it_has(
    recipe: Callable[..., Run],
    train_run: Callable[..., Session],
    watch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {
        "model": {
            "name": "whitened_cnn",
            "widths": [4, 8, 8],
            "whitening_images": 100,
            "whitening_eps": 1e-6,
        },
        "optimizer": {"name": "muon", "matrices": "filters", "normalized": True, "rest": "sgd"},
        "train_until": ["whiten=0.5"],
        "augment": {"name": "standard", "padding": 2, "fill": "reflect", "alternate": True},
        "evaluator": {"name": "classification", "tta": "mirror_translate", "unsure": 0.5},
        "log_every": 1,
    }
    whole = train_run(recipe(name="whole", **settings))
    evenly = Order(0, np.arange(100, dtype=np.int64) * 1280 // 100)
    with Loader(whole.data.train, augment=whole.view.augmentation, device="cpu") as loader:
        shown = [batch.images for batch in loader.batches(evenly)]
    expected = with_channels(SMALL.build(10), whole.data.train.card.channels)
    assert isinstance(expected, WhitenedNetwork)
    expected.begin_from(shown)
    assert isinstance(whole.encoder, WhitenedNetwork)
    torch.testing.assert_close(whole.encoder.whiten.weight, expected.whiten.weight, rtol=1e-4, atol=1e-4)
    run = recipe(name="stopped", **settings)
    with pytest.raises(InterruptedRunError):
        train(run, RunFolder(run.runs_dir / folder_name(run), run), World(), watch(stop_at=15))
    # What they were computed from isn't read again.
    monkeypatch.setattr(WhitenedNetwork, "begin_from", lambda *_: pytest.fail("computed again"))
    assert train_run(run).fingerprint() == whole.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (0, 8, 8)}, "model.widths must each be at least 1 and at most 4096 channels"),
        ({"scale": 0.0}, "model.scale must be above 0 and finite; got 0"),
        ({"norm_momentum": 0.0}, "model.norm_momentum must be above 0 and at most 1; got 0"),
        ({"whitening_images": 0}, "model.whitening_images must be at least 1; got 0"),
        ({"whitening_eps": -1.0}, "model.whitening_eps must be above 0 and finite; got -1"),
    ],
)
def test_refuses_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(RunError, match=f"^{message}"):
        WhitenedCNN(**options)  # type: ignore[arg-type]
