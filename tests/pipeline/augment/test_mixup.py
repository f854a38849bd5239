from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of
from torch.nn import functional as F

from pipeline.augment.augmentation import Augmentation
from pipeline.augment.mixup import Mixup
from pipeline.errors import DataError
from pipeline.ops.memory import place

CPU = torch.device("cpu")


@pytest.mark.parametrize("per_sample", [False, True])
def test_equals_the_definition_image_by_image(per_sample: bool) -> None:
    part, n = Mixup(per_sample=per_sample), 12
    images = torch.randn(n, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    draws = part.draw(keys_of(n), 5, 7)
    out = part.apply(images, {name: place(array, CPU) for name, array in draws.items()})
    for i in range(n):
        lam, other = float(draws["coefficient"][i]), int(draws["partner"][i])
        assert torch.allclose(out[i], lam * images[i] + (1 - lam) * images[other], atol=1e-6)


def test_one_lambda_a_batch_or_one_a_sample() -> None:
    coefficients = [Mixup().draw(keys_of(8, step), 5, 5)["coefficient"] for step in range(30)]
    assert all(len(set(coefficient.tolist())) == 1 for coefficient in coefficients)
    assert len({float(coefficient[0]) for coefficient in coefficients}) == 30
    assert len(set(Mixup(per_sample=True).draw(keys_of(8), 5, 5)["coefficient"].tolist())) == 8


def test_every_image_is_a_partner_once() -> None:
    partner = Mixup().draw(keys_of(50), 5, 5)["partner"]
    assert sorted(partner.tolist()) == list(range(50))


def test_alpha_is_that_of_the_distribution() -> None:
    for alpha in (0.3, 4.0):
        coefficient = (
            Mixup(alpha=alpha, per_sample=True).draw(keys_of(20_000), 5, 5)["coefficient"].astype(np.float64)
        )
        assert abs(coefficient.var() * 4 * (2 * alpha + 1) - 1) < 0.05


def test_gradients_are_those_of_the_two_losses() -> None:
    """lambda * CE(f(x), y) + (1 - lambda) * CE(f(x), y'), as the paper defines it."""
    n, classes = 9, 4
    torch.manual_seed(0)
    augmentation = Augmentation([Mixup(per_sample=True)], mean=[0.5] * 3, std=[0.2] * 3)
    draws = augmentation.draw(keys_of(n), 6, 6)
    levels, labels = torch.randint(0, 256, (n, 3, 6, 6), dtype=torch.uint8), torch.randint(0, classes, (n,))
    on_device, mixture = draws.to(CPU)
    assert mixture is not None
    mixed = augmentation.transform(levels, on_device)
    weight = torch.randn(classes, 3 * 6 * 6, requires_grad=True)
    output = mixed.flatten(1) @ weight.T
    per_label = -F.log_softmax(output, 1).gather(1, mixture.gather(labels))
    mixture.per_image(per_label).mean().backward()
    ours = weight.grad
    weight.grad = None
    normal = (levels / 255 - 0.5) / 0.2
    partner, coefficient = draws.parts[0]["partner"], torch.from_numpy(draws.parts[0]["coefficient"])
    x = coefficient[:, None, None, None] * normal + (1 - coefficient)[:, None, None, None] * normal[partner]
    logits = x.flatten(1) @ weight.T
    definition = coefficient * F.cross_entropy(logits, labels, reduction="none")
    definition = definition + (1 - coefficient) * F.cross_entropy(logits, labels[partner], reduction="none")
    definition.mean().backward()
    assert ours is not None
    assert weight.grad is not None
    assert torch.allclose(ours, weight.grad, atol=1e-5)


def test_alpha_must_be_positive() -> None:
    with pytest.raises(DataError, match="alpha must be above 0"):
        Mixup(alpha=0)
