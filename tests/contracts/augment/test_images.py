"""Contract suite of augmentations on images: shape, dtype, layout, no wait for the device."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from every_augmentation import CPU, drawn, every_part, images_for, keys_of
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.augment import Augment, Augmentation
from pipeline.augment.protocol import Resizing
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.ssl import Ssl
from pipeline.ops.memory import place

SHAPES = [(32, 32), (28, 17)]


def resized() -> dict[str, Augment]:
    return {"random_resized_crop": RandomResizedCrop(size=21), "ssl": Ssl(size=40)}


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
def test_gray_images_come_out_alike_in_one_channel_and_in_three(part: Augment) -> None:
    gray = images_for(part, 40, 20, 26, channels=1)
    draws = drawn(part, keys_of(np.arange(40)), 20, 26)
    colors = gray.expand(40, 3, 20, 26).contiguous(memory_format=torch.channels_last)
    assert torch.equal(part.apply(colors, draws)[:, :1], part.apply(gray, draws))


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


@every_part
def test_is_a_frozen_dataclass_that_says_what_it_does(part: Augment) -> None:
    assert is_dataclass(part)
    assert type(part).__dataclass_params__.frozen
    summary = (type(part).__doc__ or "").splitlines()[0]
    assert summary.endswith(".")
    assert not summary.startswith(type(part).__name__)
    assert part == type(part)(**{field.name: getattr(part, field.name) for field in fields(part)})
