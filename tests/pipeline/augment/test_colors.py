"""Color jitter, grayscale, blur, solarize and their set, against torchvision image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pipeline.augment.blur import Blur
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.grayscale import Grayscale
from pipeline.augment.protocol import Augment
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.sequence import beneath
from pipeline.augment.solarize import Solarize
from pipeline.augment.ssl import Ssl
from pipeline.errors import DataError
from pipeline.ops import intensity as levels
from pipeline.ops.memory import place
from pipeline.randomness import sample_doubles, uniforms

CPU = torch.device("cpu")


def images(n: int, height: int, width: int) -> Tensor:
    """Noise, and smooth images in many colors; every level of gray among them."""
    rng = np.random.default_rng(height * width)
    pixels = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    for index in range(n // 2):
        small = Image.fromarray(pixels[index, :3, :3])
        pixels[index] = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    pixels[0] = (np.arange(height * width) % 256).astype(np.uint8).reshape(height, width, 1)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def applied(part: Augment, stack: Tensor) -> Tensor:
    height, width = stack.shape[2:]
    draws = part.draw(keys_of(len(stack)), height, width)
    return part.apply(stack, {name: place(array, CPU) for name, array in draws.items()})


def through_pillow(image: Tensor, function: object, *values: float) -> Tensor:
    return F.pil_to_tensor(function(F.to_pil_image(image), *values))  # type: ignore[operator]


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_grayscale_is_torchvisions(probability: float) -> None:
    stack = images(60, 18, 23)
    out = applied(Grayscale(probability=probability), stack)
    chosen = uniforms(keys_of(60), "grayscale", 1)[:, 0] < probability
    for image, result, gray in zip(stack, out, chosen, strict=True):
        expected = through_pillow(image, F.rgb_to_grayscale, 3) if gray else image
        assert torch.equal(result, expected)


@pytest.mark.parametrize("threshold", [0, 100, 128, 256])
def test_solarize_is_torchvisions(threshold: int) -> None:
    stack = images(60, 18, 23)
    out = applied(Solarize(probability=0.5, threshold=threshold), stack)
    chosen = uniforms(keys_of(60), "solarize", 1)[:, 0] < 0.5
    for image, result, solarized in zip(stack, out, chosen, strict=True):
        assert torch.equal(result, through_pillow(image, F.solarize, threshold) if solarized else image)


@pytest.mark.parametrize("hue", [0.0, 0.3])
def test_color_jitter_is_torchvisions_in_each_samples_order(hue: float) -> None:
    """The hue by our own operation, which has a test of its own: theirs differs by a level."""
    part, n = ColorJitter(brightness=0.6, contrast=0.5, saturation=1.3, hue=hue, probability=0.8), 120
    stack = images(n, 15, 22)
    out = applied(part, stack)
    uniform = sample_doubles(keys_of(n), "color_jitter", 9)
    strengths = (0.6, 0.5, 1.3)
    functions = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    orders = set()
    for index in range(n):
        expected = stack[index]
        order = np.argsort(uniform[index, 4:8])
        orders.add(tuple(order))
        for which in order if uniform[index, 8] < 0.8 else ():
            chance = uniform[index, which]
            if which < 3:
                low, high = max(0, 1 - strengths[which]), 1 + strengths[which]
                expected = through_pillow(expected, functions[which], low + (high - low) * chance)
            elif hue:
                turn = torch.tensor([-hue + 2 * hue * chance], dtype=torch.float32)
                expected = levels.hue(expected.permute(1, 2, 0)[None], turn)[0].permute(2, 0, 1)
        assert torch.equal(out[index], expected)
    assert len(orders) == 24


def test_hue_is_within_one_level_of_torchvisions() -> None:
    grid = torch.arange(0, 256, 15, dtype=torch.uint8)
    cube = torch.cartesian_prod(grid, grid, grid).view(1, -1, 18, 3)
    for turn in np.linspace(-0.5, 0.5, 41):
        ours = levels.hue(cube, torch.tensor([turn], dtype=torch.float32))
        theirs = F.adjust_hue(cube.permute(0, 3, 1, 2), float(turn)).permute(0, 2, 3, 1)
        assert (ours.int() - theirs.int()).abs().max() <= 1
    assert torch.equal(levels.hue(cube, torch.zeros(1)), cube)
    assert torch.equal(levels.hue(cube, torch.ones(1)), cube)


@pytest.mark.parametrize(
    ("part", "height", "width"),
    [
        (Blur(), 32, 32),
        (Blur(probability=1.0, sigma=(0.3, 5.0), kernel=9), 18, 25),
        (Blur(probability=1.0, kernel=9), 5, 40),
        (Blur(probability=1.0), 110, 97),
        (Blur(probability=1.0, kernel=1), 9, 12),
    ],
    ids=["32", "wide", "as long as the image", "large", "one pixel"],
)
def test_blur_is_within_one_level_of_torchvisions(part: Blur, height: int, width: int) -> None:
    n = 40
    stack = images(n, height, width)
    out = applied(part, stack)
    chance, where = sample_doubles(keys_of(n), "blur", 2).T
    length = part.kernel or max(3, min(height, width) // 10 | 1)
    off = 0
    for index in range(n):
        if chance[index] < part.probability:
            sigma = part.sigma[0] + (part.sigma[1] - part.sigma[0]) * where[index]
            expected = F.gaussian_blur(stack[index], [length, length], [sigma, sigma])
            away = (out[index].int() - expected.int()).abs()
            assert away.max() <= 1
            off += int((away > 0).sum())
        else:
            assert torch.equal(out[index], stack[index])
    assert off < 1e-3 * stack.numel()


def test_a_blur_longer_than_the_image_ends_at_its_reflection() -> None:
    flat = torch.full((4, 3, 2, 1), 77, dtype=torch.uint8)
    assert torch.equal(applied(Blur(probability=1.0, kernel=21), flat), flat)


@pytest.mark.parametrize(
    ("part", "stream"),
    [(Grayscale(), "grayscale"), (Blur(), "blur"), (Solarize(), "solarize"), (ColorJitter(), "color_jitter")],
)
def test_happens_as_often_as_promised(part: Augment, stream: str) -> None:
    n, probability = 4000, part.probability  # type: ignore[attr-defined]
    stack = images(4, 3, 4)[3:].expand(n, 3, 3, 4)
    changed = (applied(part, stack) != stack).flatten(1).any(1).float().mean().item()
    # A narrow blur and a weak jitter may change nothing after rounding.
    assert changed < probability + 5 * np.sqrt(probability * (1 - probability) / n)
    assert changed > 0.8 * probability


def test_the_set_is_its_parts_in_streams_of_its_own() -> None:
    n, part = 30, Ssl(magnitude=7.0)
    stack = images(n, 24, 20)
    draws = part.draw(keys_of(n), 24, 20)
    out = applied(part, stack)
    expected = stack
    for k, one in enumerate(part.parts()):
        alone = one.draw(keys_of(n, scope="ssl/"), 24, 20)
        inner = beneath({name: place(array, CPU) for name, array in draws.items()}, f"{k}/")
        assert inner.keys() == alone.keys()
        assert all(torch.equal(inner[name], place(array, CPU)) for name, array in alone.items())
        expected = one.apply(expected, inner)
    assert torch.equal(out, expected)
    assert (RandomResizedCrop().draw(keys_of(n), 24, 20)["flip"] != draws["0/flip"]).any()
    assert applied(Ssl(size=11), stack).shape == (n, 3, 11, 11)


def test_one_magnitude_scales_the_set() -> None:
    assert Ssl().parts() == (
        RandomResizedCrop(scale=(0.2, 1.0)),
        ColorJitter(0.4, 0.4, 0.4, 0.1),
        Grayscale(),
        Blur(),
        Solarize(probability=0.0),
    )
    _, jitter, gray, blur, solarize = Ssl(magnitude=10.0, scaled="all", solarize=0.1).parts()
    assert jitter == ColorJitter(0.8, 0.8, 0.8, 0.2)
    assert (gray, blur, solarize) == (Grayscale(0.4), Blur(sigma=(0.1, 4.0)), Solarize(0.2))
    assert Ssl(magnitude=10.0).parts()[1:] == (jitter, *Ssl().parts()[2:])
    assert Ssl(scaled="colours") == Ssl()
    crop, *_ = Ssl(magnitude=0.0).parts()
    stack = images(8, 16, 16)
    plain = Ssl(magnitude=0.0, scaled="all", scale=(1.0, 1.0))
    assert crop == RandomResizedCrop(scale=(0.2, 1.0))
    # Nothing is left but the flip: a kernel of a tenth of a pixel changes nothing, nor does the only window.
    changed = applied(plain, stack)
    assert all(
        torch.equal(new, old) or torch.equal(new, old.flip(2))
        for new, old in zip(changed, stack, strict=True)
    )
    assert Ssl(magnitude=80.0, scaled="all").parts()[1:3] == (ColorJitter(6.4, 6.4, 6.4, 0.5), Grayscale(1.0))


@pytest.mark.parametrize(
    ("magnitude", "jitter"),
    [(4.0, (0.32, 0.32, 0.32, 0.08)), (5.0, (0.4, 0.4, 0.4, 0.1)), (6.0, (0.48, 0.48, 0.48, 0.12))],
)
def test_a_view_is_that_of_the_thesis(magnitude: float, jitter: tuple[float, ...]) -> None:
    """SimCLR's view, of which the magnitude scales the color jitter alone (Kocyigit 2023, A.5: 4 to 6)."""
    _, colors, gray, blur, solarize = Ssl(magnitude=magnitude).parts()
    assert isinstance(colors, ColorJitter)
    drawn = (colors.brightness, colors.contrast, colors.saturation, colors.hue)
    assert drawn == pytest.approx(jitter)
    assert (colors.probability, gray, blur) == (0.8, Grayscale(0.2), Blur(probability=0.5, sigma=(0.1, 2.0)))
    assert solarize == Solarize(probability=0.0)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: ColorJitter(hue=0.6), "hue must be in"),
        (lambda: ColorJitter(contrast=-1), "contrast must be at least 0"),
        (lambda: Grayscale(probability=1.2), "probability must be in"),
        (lambda: Blur(sigma=(0.0, 1.0)), "sigma must be two numbers above 0"),
        (lambda: Blur(kernel=4), "kernel must be an odd number"),
        (lambda: Solarize(threshold=300), "threshold must be a level"),
        (lambda: Ssl(magnitude=-1), "magnitude must be at least 0"),
        (lambda: Ssl(scaled="some"), "scaled must be all or colors"),  # type: ignore[arg-type]
        (lambda: Ssl(solarize=2), "solarize must be a probability"),
        (lambda: Ssl(size=0), "size must be at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused(make: object, line: str) -> None:
    with pytest.raises(DataError, match=line):
        make()  # type: ignore[operator]
