from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.policies import POLICIES
from pipeline.augment.spaces import learned
from pipeline.errors import DataError
from pipeline.ops.memory import place
from pipeline.randomness import integers, sample_doubles

CPU = torch.device("cpu")
NAMES = {
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Color": "color",
    "AutoContrast": "autocontrast",
}


@pytest.mark.parametrize("name", list(POLICIES))
def test_pairs_are_torchvisions(name: str) -> None:
    theirs, policy = AutoAugment(AutoAugmentPolicy(name)).policies, POLICIES[name]
    ours = [
        tuple(
            (policy.names[operation], probability, level)
            for operation, probability, level in zip(*columns, strict=True)
        )
        for columns in zip(policy.operation, policy.probability, policy.level, strict=True)
    ]
    assert ours == [
        tuple((NAMES.get(op, op.lower()), p, level or 0) for op, p, level in pair) for pair in theirs
    ]


@pytest.mark.parametrize("name", list(POLICIES))
def test_equals_torchvision_image_by_image(name: str) -> None:
    """Every image through torchvision's tables and operations, with our choices.

    Values are ours, which differ from theirs in the eighth digit, where theirs are rounded to float32
    (`test_operations`): enough for a factor of .7 to end on the other side of a whole level.
    """
    part, n, (height, width) = Autoaugment(policy=name), 400, (21, 30)  # type: ignore[arg-type]
    theirs = AutoAugment(AutoAugmentPolicy(name))
    space = learned(height, width)
    pixels = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    draws = {key: place(array, CPU) for key, array in part.draw(keys_of(n), height, width).items()}
    out = part.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2), draws).permute(0, 2, 3, 1).numpy()
    uniform = sample_doubles(keys_of(n), "autoaugment", 5)
    pairs = integers(uniform[:, 0], 25)
    assert len(set(pairs)) == 25
    for index in range(n):
        image = Image.fromarray(pixels[index])
        for layer, (operation, probability, level) in enumerate(theirs.policies[pairs[index]]):
            chance, toss = uniform[index, 1 + 2 * layer : 3 + 2 * layer]
            if chance < probability:
                row = space.names.index(NAMES.get(operation, operation.lower()))
                value = space.values[row, level or 0]
                # Their translations count the other way round.
                negative = (toss < 0.5) != operation.startswith("Translate")
                image = _apply_op(
                    image,
                    operation,
                    -value if space.signed[row] and negative else value,
                    InterpolationMode.NEAREST,
                    None,
                )
        assert (out[index] == np.asarray(image)).all()


def test_pairs_are_drawn_evenly_and_applied_with_their_probability() -> None:
    n = 50_000
    policy = POLICIES["svhn"]
    draws = Autoaugment(policy="svhn").draw(keys_of(n), 32, 32)
    for layer in range(2):
        inverted = np.isin(policy.operation[:, layer], policy.names.index("invert"))
        expected = (policy.probability[:, layer] * inverted).sum() / 25
        flipped = draws[f"{layer}/bits/with"][:, 4]
        fraction = (flipped == 255).sum() / n
        # Solarize flips everything only where its threshold is 0, which no pair has.
        assert abs(fraction - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_a_policy_that_was_never_learned_is_refused() -> None:
    with pytest.raises(DataError, match="policy must be one of cifar10, svhn, imagenet; got 'mnist'"):
        Autoaugment(policy="mnist")  # type: ignore[arg-type]
