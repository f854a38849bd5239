"""What every augmentation keeps to, whatever it does to the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.augment import AUGMENTS, Augment, Augmentation, Mixing
from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.blur import Blur
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.cutmix import Cutmix
from pipeline.augment.cutout import Cutout
from pipeline.augment.multi import Multi
from pipeline.augment.protocol import Resizing
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.ssl import Ssl
from pipeline.augment.trivialaugment_wide import TrivialaugmentWide
from pipeline.randomness import Keys
from pipeline.transfer import place

CPU = torch.device("cpu")
SHAPES = [(32, 32), (28, 17)]


def with_options() -> Iterator[tuple[str, Augment]]:
    yield "randaugment-modern", Randaugment(space="modern", operations=3)
    yield "cutmix-half", Cutmix(per_sample=True, probability=0.5)
    yield "autoaugment-svhn", Autoaugment(policy="svhn")
    yield "autoaugment-imagenet", Autoaugment(policy="imagenet")
    yield "blur-long", Blur(probability=1.0, sigma=(1.0, 6.0), kernel=15)
    yield "color_jitter-no-hue", ColorJitter(hue=0.0, probability=1.0)
    yield "ssl-strong", Ssl(magnitude=12.0, solarize=0.5)
    yield "multi-chains", Multi(parts=("none", "randaugment+standard", "ssl"), space="original")


def variants() -> Iterator[tuple[str, Augment]]:
    for name, part in AUGMENTS.items():
        yield name, part()
        if any(field.name == "per_sample" for field in fields(part)):  # type: ignore[arg-type]
            yield f"{name}-per_sample", part(per_sample=True)  # type: ignore[call-arg]
    yield from with_options()


def resized() -> dict[str, Augment]:
    return {"random_resized_crop": RandomResizedCrop(size=21), "ssl": Ssl(size=40)}


def over(mixing: bool | None = None) -> pytest.MarkDecorator:
    chosen = {name: part for name, part in variants() if mixing in (None, isinstance(part, Mixing))}
    return pytest.mark.parametrize("part", list(chosen.values()), ids=list(chosen))


every_part, every_mixing, every_other = over(), over(mixing=True), over(mixing=False)


def keys_of(ids: np.ndarray, step: int = 3) -> Keys:
    return Keys(seed=11, round=2, step=step, ids=ids, occurrences=ids % 3)


def images_for(part: Augment, n: int, height: int, width: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(n * 1000 + height)
    levels = torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)
    if part.domain == "float":
        levels = levels.to(torch.float32) / 100 - 1
    return levels.contiguous(memory_format=torch.channels_last)


def drawn(part: Augment, keys: Keys, height: int, width: int) -> dict[str, Tensor]:
    return {name: place(array, CPU) for name, array in part.draw(keys, height, width).items()}


@pytest.mark.usefixtures("fake_cuda")
@every_part
@pytest.mark.parametrize("n", [1, 2, 128])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_never_waits_for_the_device(part: Augment, n: int, height: int, width: int) -> None:
    """On fake CUDA tensors a host tensor in between, .item() and a data-dependent shape all raise."""
    keys = keys_of(np.arange(n))
    augmentation = Augmentation([part], mean=[0.5] * 3, std=[0.25] * 3)
    draws = augmentation.draw(keys, height, width)
    with FakeTensorMode(), torch.device("cuda"):
        parts = [
            {name: torch.empty(array.shape, dtype=place(array, CPU).dtype) for name, array in one.items()}
            for one in draws.parts
        ]
        images = torch.empty((n, height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        out = augmentation.transform(images, parts)
        assert out.device.type == "cuda"
        assert out.shape == images.shape
        assert out.is_contiguous(memory_format=torch.channels_last)


@every_part
@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_keeps_shape_dtype_layout_and_its_input(
    part: Augment, n: int, height: int, width: int, channels: int
) -> None:
    images = images_for(part, n, height, width, channels)
    before = images.clone()
    out = part.apply(images, drawn(part, keys_of(np.arange(n)), height, width))
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("part", list(resized().values()), ids=list(resized()))
@pytest.mark.parametrize("n", [0, 1, 6])
def test_gives_the_size_that_it_says(part: Resizing, n: int) -> None:
    images, augmentation = images_for(part, n, 30, 23), Augmentation([part], mean=[0.5] * 3, std=[0.25] * 3)
    out = part.apply(images, drawn(part, keys_of(np.arange(n)), 30, 23))
    assert tuple(out.shape) == (n, 3, *part.size_of(30, 23))
    assert out.is_contiguous(memory_format=torch.channels_last)
    draws = drawn(part, keys_of(np.arange(n)), 30, 23)
    with FakeTensorMode(allow_non_fake_inputs=False), torch.device("cuda"):
        on_device = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in draws.items()}
        fake = torch.empty((n, 30, 23, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        assert augmentation.transform(fake, [on_device]).shape == out.shape


@every_part
def test_grey_images_come_out_alike_in_one_channel_and_in_three(part: Augment) -> None:
    grey = images_for(part, 40, 20, 26, channels=1)
    draws = drawn(part, keys_of(np.arange(40)), 20, 26)
    colours = grey.expand(40, 3, 20, 26).contiguous(memory_format=torch.channels_last)
    assert torch.equal(part.apply(colours, draws)[:, :1], part.apply(grey, draws))


@every_part
def test_takes_every_dtype_of_its_domain(part: Augment) -> None:
    levels = images_for(part, 6, 16, 20)
    draws = drawn(part, keys_of(np.arange(6)), 16, 20)
    dtypes = {
        "uint8": [torch.uint8],
        "float": [torch.float32, torch.bfloat16],
        "any": [torch.uint8, torch.bfloat16],
    }
    for dtype in dtypes[part.domain]:
        out = part.apply(levels.to(dtype), draws)
        assert out.dtype == dtype
        exact = part.apply(levels, draws).to(torch.float32)
        assert torch.allclose(out.to(torch.float32), exact, rtol=0.02, atol=0.02)


@every_part
def test_draws_say_everything(part: Augment) -> None:
    """Two draws for the same keys are equal, and drawing leaves no trace in any global generator."""
    keys = keys_of(np.arange(9) * 7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = part.draw(keys, 32, 24), part.draw(keys, 32, 24)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.array_equal(array, second[name])
        assert array.shape[0] <= 9 if "/" in name else array.shape[0] == 9
    images = images_for(part, 9, 32, 24)
    draws = drawn(part, keys, 32, 24)
    assert torch.equal(part.apply(images, draws), part.apply(images, draws))
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # noqa: NPY002


@every_part
@pytest.mark.parametrize("magnitude", [0.0, 0.5, 3.0])
def test_strength_and_resolution_change_values_alone(part: Augment, magnitude: float) -> None:
    """Whatever a run's progress makes of them, the same arrays are drawn, for as many samples each."""
    keys = keys_of(np.arange(9))
    usual = part.draw(keys, 16, 12)
    other = part.draw(replace(keys, magnitude=magnitude, resolution=0.5), 16, 12)
    assert {name: array.dtype for name, array in other.items()} == {
        name: array.dtype for name, array in usual.items()
    }
    images = images_for(part, 9, 16, 12)
    draws = {name: place(array, CPU) for name, array in other.items()}
    out = part.apply(images, draws)
    assert out.shape == part.apply(images, drawn(part, keys, 16, 12)).shape
    again = part.draw(replace(keys, magnitude=1.0, resolution=1.0), 16, 12)
    assert all(np.array_equal(again[name], array) for name, array in usual.items())


@pytest.mark.parametrize(
    ("part", "magnitude", "resolution", "same"),
    [
        (Randaugment(space="modern", magnitude=10), 0.5, 1.0, Randaugment(space="modern", magnitude=5)),
        (Randaugment(space="modern"), 1.5, 0.5, Randaugment(space="modern", magnitude=14)),
        (Randaugment(space="modern"), 9.0, 1.0, Randaugment(space="modern", magnitude=30)),
        (Randaugment(), 0.5, 1.0, Randaugment()),
        (TrivialaugmentWide(), 0.5, 1.0, TrivialaugmentWide()),
        (Autoaugment(), 0.5, 0.5, Autoaugment()),
        (ColorJitter(), 0.5, 0.5, ColorJitter(0.2, 0.2, 0.2, 0.05)),
        (ColorJitter(), 6.0, 1.0, ColorJitter(2.4, 2.4, 2.4, 0.5)),
        (Cutout(size=12), 0.5, 0.5, Cutout(size=6)),
        (Cutout(size=2), 1.0, 0.1, Cutout(size=1)),
        (Blur(sigma=(0.5, 3.0)), 0.5, 0.5, Blur(sigma=(0.25, 1.5))),
        (Blur(kernel=9), 1.0, 0.5, Blur(kernel=5, sigma=(0.05, 1.0))),
    ],
    ids=lambda value: type(value).__name__ if is_dataclass(value) else str(value),
)
def test_strength_and_resolution_are_as_options_scaled(
    part: Augment, magnitude: float, resolution: float, same: Augment
) -> None:
    keys = keys_of(np.arange(60))
    scaled = part.draw(replace(keys, magnitude=magnitude, resolution=resolution), 24, 20)
    expected = same.draw(keys, 24, 20)
    assert scaled.keys() == expected.keys()
    for name, array in expected.items():
        # Factors come of products in another order.
        assert np.allclose(scaled[name], array, rtol=1e-6, atol=1e-6), name


@pytest.mark.parametrize(
    ("part", "name", "furthest"),
    [(Randaugment(magnitude=15), "0/slide/with", 50), (TrivialaugmentWide(), "slide/with", 32)],
)
@pytest.mark.parametrize("resolution", [0.25, 0.5, 1.0])
def test_moves_in_pixels_scale_with_the_resolution(
    part: Augment, name: str, furthest: int, resolution: float
) -> None:
    """How far down rows are taken from, in 16.16 fixed point and from middle to middle."""
    keys = replace(keys_of(np.arange(4000)), resolution=resolution)
    down = part.draw(keys, 200, 8)[name][:, 2].astype(np.float64) / 65536 - 0.5
    assert abs(down.max() - furthest * resolution) < 1
    assert abs(down.min() + furthest * resolution) < 1


@every_part
def test_shapes_of_draws_follow_from_the_batch_alone(part: Augment) -> None:
    shapes = set()
    for step in range(20):
        draws = part.draw(keys_of(np.arange(5) + step * 100, step), 32, 32)
        # Groups, whose names have a slash, differ in length; the host knows it.
        shapes.add(
            tuple((name, array.shape["/" in name :], array.dtype.str) for name, array in draws.items())
        )
    assert len(shapes) == 1


@every_other
def test_a_sample_is_augmented_alike_in_every_batch(part: Augment) -> None:
    ids = np.arange(24) * 5
    images = images_for(part, 24, 32, 32)
    whole = part.apply(images, drawn(part, keys_of(ids), 32, 32))
    for places in np.array_split(np.arange(24), 5):
        split = part.apply(images[places], drawn(part, keys_of(ids[places], step=8), 32, 32))
        assert torch.equal(split, whole[places])


@every_part
def test_threads_change_nothing(part: Augment) -> None:
    images = images_for(part, 64, 32, 32)
    draws = drawn(part, keys_of(np.arange(64)), 32, 32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = part.apply(images, draws)
        torch.set_num_threads(2)
        assert torch.equal(alone, part.apply(images, draws))
    finally:
        torch.set_num_threads(threads)


@every_part
def test_a_chain_takes_images_in_any_layout(part: Augment) -> None:
    augmentation = Augmentation([part], mean=[0.5] * 3, std=[0.25] * 3)
    keys = keys_of(np.arange(6))
    draws = [
        {name: place(array, CPU) for name, array in one.items()}
        for one in augmentation.draw(keys, 20, 24).parts
    ]
    images = torch.randint(0, 256, (6, 3, 20, 24), dtype=torch.uint8)
    out = augmentation.transform(images, draws)
    assert torch.equal(
        out, augmentation.transform(images.contiguous(memory_format=torch.channels_last), draws)
    )
    wider = torch.zeros(6, 3, 20, 40, dtype=torch.uint8)
    wider[..., 8:32] = images
    assert torch.equal(out, augmentation.transform(wider[..., 8:32], draws))


@every_mixing
@pytest.mark.parametrize("n", [0, 1, 2, 33])
def test_shares_of_a_mixture_sum_to_one(part: Mixing, n: int) -> None:
    for step in range(10):
        mixture = part.constituents(part.draw(keys_of(np.arange(n), step), 30, 22))
        partners, coefficients = mixture.partners, mixture.coefficients
        assert partners.dtype == np.int64
        assert coefficients.dtype == np.float32
        assert partners.shape == coefficients.shape
        assert partners.shape[0] == n
        assert ((partners >= 0) & (partners < max(n, 1))).all()
        assert (coefficients >= 0).all()
        assert np.allclose(coefficients.sum(axis=1), 1, atol=1e-6)


@every_part
def test_is_a_frozen_dataclass_that_says_what_it_does(part: Augment) -> None:
    assert is_dataclass(part)
    assert type(part).__dataclass_params__.frozen  # type: ignore[attr-defined]
    summary = (type(part).__doc__ or "").splitlines()[0]
    assert summary.endswith(".")
    assert not summary.startswith(type(part).__name__)
    assert part == type(part)(**{field.name: getattr(part, field.name) for field in fields(part)})
