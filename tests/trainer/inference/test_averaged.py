"""Test-time augmentation against a slow average over copies of each image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainer.inference.averaged import Averaged


class Probe(nn.Module):
    """Outputs that depend on where pixels are; counts the images that it sees."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weights = nn.Parameter(torch.randn(2 * 5 * 6, 3, generator=generator), requires_grad=False)
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.flatten(1) @ self.weights


def slow(network: nn.Module, image: Tensor, translate: bool) -> Tensor:
    """The weighted mean for one image, [C, H, W]."""
    padded = np.pad(image.numpy(), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    copies = [(image, 0.5), (image.flip(2), 0.5)]
    if translate:
        up, down = (torch.from_numpy(padded[:, at : at + 5, at : at + 6].copy()) for at in (0, 2))
        copies = [(copy, weight / 2) for copy, weight in copies]
        copies += [(one, 0.125) for shifted in (up, down) for one in (shifted, shifted.flip(2))]
    return sum((weight * network(copy[None])[0] for copy, weight in copies), torch.zeros(3))


def images() -> Tensor:
    return torch.randn(8, 2, 5, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("translate", [False, True])
def test_outputs_are_the_mean_over_copies(translate: bool) -> None:
    network = Probe()
    found = Averaged(network, "mirror_translate" if translate else "mirror")(images())
    torch.testing.assert_close(found, torch.stack([slow(network, x, translate) for x in images()]))
    assert torch.equal(Averaged(network, "none")(images()), network(images()))


def test_only_the_least_sure_are_shown_in_copies() -> None:
    network, shown = Probe(), images()
    plain = network(shown)
    top = plain.sort(dim=1, descending=True).values
    unsure = (top[:, 0] - top[:, 1]).argsort()[:3]
    network.seen = 0
    found = Averaged(network, "mirror_translate", unsure=0.3)(shown)
    assert network.seen == 8 + 3 * 5
    for index in range(8):
        expected = slow(network, shown[index], translate=True) if index in unsure else plain[index]
        torch.testing.assert_close(found[index], expected)


def test_one_output_and_one_image_are_no_exception() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 1))
    assert Averaged(network, "mirror", unsure=0.5)(images()[:1]).shape == (1, 1)
