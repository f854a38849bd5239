"""Every operation against Pillow, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import AutoAugment, RandAugment, TrivialAugmentWide, _apply_op

from pipeline.augment.operations import OPERATIONS, apply_layers, draw_layer
from pipeline.augment.spaces import Space, learned, modern, original, wide
from pipeline.ops import intensity as levels
from pipeline.ops.memory import images_at_once, place

Pixels = NDArray[np.uint8]
SHAPES = [(32, 32), (17, 40), (2, 5)]
TORCHVISION = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
}


def images(height: int, width: int) -> list[Pixels]:
    """Noise, smooth, dark, almost of one level, of one level, and of two."""
    rng = np.random.default_rng(height * width)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    flat = np.full((height, width, 3), (40, 90, 200), dtype=np.uint8)
    almost = flat.copy()
    almost[0, 0] += 1
    two = np.where(rng.random((height, width, 1)) < 0.1, np.uint8(13), np.uint8(240)).repeat(3, axis=2)
    return [noise, smooth, noise // 5 + 30, almost, flat, two]


def ours(
    name: str, pixels: list[Pixels], values: list[float], positions: NDArray[np.float64] | None = None
) -> Pixels:
    """All of the images with all of the values, as one group."""
    stack = np.stack([image for image in pixels for _ in values])
    count, height, width = stack.shape[:3]
    drawn = draw_layer(
        [name],
        np.zeros(count, dtype=np.int64),
        np.tile(np.array(values, dtype=np.float64), len(pixels)),
        np.zeros((count, 2)) if positions is None else positions,
        height,
        width,
    )
    draws = {key: place(array, torch.device("cpu")) for key, array in drawn.items()}
    return apply_layers(torch.from_numpy(stack), draws, [""]).numpy()


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
    "posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "solarize": lambda image, value: ImageOps.solarize(image, value),  # type: ignore[arg-type]
    "solarize_add": lambda image, value: ImageOps.solarize(
        Image.fromarray((np.asarray(image) + value).clip(0, 255).astype(np.uint8)), 128
    ),
    "brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "color": lambda image, value: ImageEnhance.Color(image).enhance(value),
    "sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
    "shear_x": lambda image, value: affine(image, 1, value, 0, 0, 1, 0),
    "shear_y": lambda image, value: affine(image, 1, 0, 0, value, 1, 0),
    "translate_x": lambda image, value: affine(image, 1, 0, value, 0, 1, 0),
    "translate_y": lambda image, value: affine(image, 1, 0, 0, 0, 1, value),
    "rotate": lambda image, value: image.rotate(value),
}


def every_value(name: str) -> list[float]:
    """Every value of every list, to both sides where it is tossed for."""
    found: set[float] = set()
    for space in (original(), modern(32, 40), learned(32, 40), wide()):
        if name in space.names:
            row = space.names.index(name)
            for value in space.values[row]:
                found |= {
                    space.neutral[row] + value,
                    space.neutral[row] + (-value if space.signed[row] else value),
                }
    return sorted(found)


@pytest.mark.parametrize("name", list(PILLOW))
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_equals_pillow_bit_for_bit(name: str, height: int, width: int) -> None:
    pixels, values = images(height, width), every_value(name)
    results = iter(ours(name, pixels, values))
    for image in pixels:
        for value in values:
            expected = np.asarray(PILLOW[name](Image.fromarray(image), value))
            assert (next(results) == expected).all(), f"{name} at {value}"


@pytest.mark.parametrize("name", [name for name in PILLOW if name != "identity"])
def test_large_images_are_worked_on_a_few_at_once(name: str) -> None:
    """Images of which one is worked on at once, and whose sums of levels no float32 holds."""
    rng = np.random.default_rng(0)
    pixels = [rng.integers(low, 256, (700, 601, 3), dtype=np.uint8) for low in (0, 201)]
    assert images_at_once(torch.from_numpy(pixels[0][None]), 1 << 20) == 1
    value = every_value(name)[-1]
    for image, result in zip(pixels, ours(name, pixels, [value]), strict=True):
        assert (result == np.asarray(PILLOW[name](Image.fromarray(image), value))).all()


def test_autocontrast_for_every_lowest_and_highest_level() -> None:
    """Pillow's formula in its own order; each image holds every level between its two."""
    low, high = (level[:, None] for level in np.triu_indices(256, 1))
    stack = np.clip(np.arange(256), low, high).astype(np.uint8)[:, None, :, None]
    scale = 255.0 / (high - low)
    expected = (stack[:, 0, :, 0] * scale + -low * scale).astype(np.int64).clip(0, 255)
    result = levels.autocontrast(torch.from_numpy(stack))
    assert (result[:, 0, :, 0].numpy() == expected).all()


def test_nothing_is_left_out() -> None:
    # The hue is tested with the color jitter, which alone uses it.
    assert set(PILLOW) | {"cutout", "hue"} == set(OPERATIONS)


def test_smoothing_is_that_of_sharpness() -> None:
    image = images(9, 8)[0]
    smooth = np.asarray(Image.fromarray(image).filter(ImageFilter.SMOOTH))
    assert (ours("sharpness", [image], [0.0])[0] == smooth).all()


@pytest.mark.parametrize("value", [0.0, 5.333333, 12.0, 40.0])
def test_cutout_paints_the_published_codes_rectangle(value: float) -> None:
    rng = np.random.default_rng(0)
    positions = rng.random((60, 2))
    pixels = [rng.integers(0, 256, (24, 31, 3), dtype=np.uint8) for _ in range(60)]
    results = ours("cutout", pixels, [value], positions)
    for image, (y, x), result in zip(pixels, positions, results, strict=True):
        picture = Image.fromarray(image)
        left, top = int(max(0, x * 31 - value / 2)), int(max(0, y * 24 - value / 2))
        corners = (left, top, min(31, left + value), min(24, top + value))
        ImageDraw.Draw(picture).rectangle(corners, (125, 123, 114))
        assert (result == np.asarray(picture)).all()


@pytest.mark.parametrize(
    ("space", "theirs"),
    [
        (modern(20, 36), RandAugment()._augmentation_space(31, (20, 36))),
        (wide(), TrivialAugmentWide()._augmentation_space(31)),
        (
            learned(20, 36),
            AutoAugment()._augmentation_space(10, (20, 36)) | {"Identity": (torch.tensor(0.0), False)},
        ),
    ],
    ids=["modern", "wide", "learned"],
)
def test_lists_and_values_are_torchvisions(
    space: Space, theirs: dict[str, tuple[torch.Tensor, bool]]
) -> None:
    """Each operation at each of its magnitudes, through torchvision's own code."""
    assert {TORCHVISION[name] for name in space.names} == set(theirs)
    image = images(20, 36)[1]
    for row, name in enumerate(space.names):
        magnitudes, signed = theirs[TORCHVISION[name]]
        assert bool(space.signed[row]) == signed
        if not magnitudes.ndim:
            assert (space.values[row] == 0).all()
        elif name.startswith("translate"):
            # Theirs are rounded down when used; float32 puts a few just below the whole number they are.
            assert (space.values[row] == np.floor(magnitudes.double().numpy() + 1e-5)).all()
        else:
            assert np.allclose(space.values[row], magnitudes.numpy(), rtol=1e-6, atol=1e-6)
        for value in space.values[row]:
            expected = _apply_op(
                Image.fromarray(image), TORCHVISION[name], value, InterpolationMode.NEAREST, None
            )
            # Translations go the other way; a toss decides in both.
            toss = -1 if name.startswith("translate") else 1
            assert (ours(name, [image], [space.neutral[row] + toss * value])[0] == np.asarray(expected)).all()


def test_the_papers_values_at_magnitude_4() -> None:
    space = original()
    value = {name: space.values[row, 4] for row, name in enumerate(space.names)}
    assert len(value) == 16
    assert value["posterize"] == 1
    assert int(np.ceil(value["solarize"])) == 35
    assert (
        value["color"]
        == value["contrast"]
        == value["brightness"]
        == value["sharpness"]
        == pytest.approx(0.34)
    )
    assert value["translate_x"] == value["translate_y"] == pytest.approx(13.333, abs=1e-3)
    assert value["rotate"] == pytest.approx(4)
    assert value["shear_x"] == pytest.approx(0.04)
    assert value["cutout"] == pytest.approx(5.333, abs=1e-3)
    assert value["solarize_add"] == pytest.approx(14.667, abs=1e-3)


def test_groups_touch_nobody_else() -> None:
    names = list(OPERATIONS)
    rng = np.random.default_rng(1)
    stack = rng.integers(0, 256, (64, 16, 12, 3), dtype=np.uint8)
    choice, values = rng.integers(0, len(names), 64), np.full(64, 1.0)
    positions = rng.random((64, 2))
    drawn = draw_layer(names, choice, values, positions, 16, 12)
    at = np.concatenate([array for name, array in drawn.items() if name.endswith("/at")])
    assert sorted(at.tolist()) == np.flatnonzero(choice != names.index("identity")).tolist()
    out = apply_layers(
        torch.from_numpy(stack),
        {name: place(array, torch.device("cpu")) for name, array in drawn.items()},
        [""],
    )
    for index in range(64):
        alone = ours(names[choice[index]], [stack[index]], [1.0], positions[index : index + 1])
        assert (out[index].numpy() == alone[0]).all()
