from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from augment_keys import keys_of
from PIL import Image
from torchvision.transforms import RandomResizedCrop as Theirs
from torchvision.transforms.v2 import functional as F

from pipeline.augment.augmentation import Augmentation
from pipeline.augment.center_crop import CenterCrop
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.ricap import Ricap
from pipeline.augment.ssl import Ssl
from pipeline.errors import DataError
from pipeline.ops.memory import place
from pipeline.randomness import sample_doubles

CPU = torch.device("cpu")


def images(n: int, height: int, width: int) -> np.ndarray:
    """Noise, where errors of resampling are largest, and smooth images."""
    rng = np.random.default_rng(height)
    noise = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    for index in range(n // 2):
        small = Image.fromarray(noise[index, : min(height, 4), : min(width, 4)])
        noise[index] = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return noise


@pytest.mark.parametrize("part", [RandomResizedCrop(), RandomResizedCrop(flip=False, size=12)])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (50, 37), (90, 96), (3, 5)])
def test_is_within_one_level_of_torchvision(part: RandomResizedCrop, height: int, width: int) -> None:
    n = 60
    pixels = images(n, height, width)
    draws = part.draw(keys_of(n), height, width)
    out = part.apply(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        {name: place(array, CPU) for name, array in draws.items()},
    )
    size = list(part.size_of(height, width))
    assert out.shape == (n, 3, *size)
    off = total = 0
    for index in range(n):
        top, left, rows, columns, flip = (draws[k][index] for k in ("top", "left", "height", "width", "flip"))
        window = (int(top), int(left), int(rows), int(columns))
        picture = Image.fromarray(pixels[index])
        tensor = torch.from_numpy(pixels[index]).permute(2, 0, 1)
        expected = F.resized_crop(tensor, *window, size, antialias=True)
        pillow = F.pil_to_tensor(F.resized_crop(picture, *window, size))
        for theirs in (expected, pillow):
            wanted = theirs.flip(2) if flip else theirs
            away = (out[index].int() - wanted.int()).abs()
            assert away.max() <= 1
            off, total = off + int((away > 0).sum()), total + away.numel()
    # Theirs round between the two directions as well.
    assert off < 0.25 * total


@pytest.mark.parametrize(
    ("part", "height", "width"),
    [
        (RandomResizedCrop(), 32, 32),
        (RandomResizedCrop(), 40, 96),
        (RandomResizedCrop(scale=(0.9, 1.0), ratio=(0.5, 0.9)), 30, 40),
        (RandomResizedCrop(scale=(0.9, 1.0), ratio=(1.4, 2.0)), 50, 40),
    ],
    ids=["square", "wide", "often none fits", "never fits"],
)
def test_windows_are_distributed_as_torchvisions(part: RandomResizedCrop, height: int, width: int) -> None:
    n = 4000
    ours = part.draw(keys_of(n), height, width)
    image = torch.empty(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [Theirs.get_params(image, list(part.scale), list(part.ratio)) for _ in range(n)]
    theirs = dict(zip(("top", "left", "height", "width"), np.array(drawn).T, strict=True))
    for values in (ours, theirs):
        values["area"] = values["height"] * values["width"]  # type: ignore[index, operator]
        values["middle"] = values["top"] * 2 + values["height"]  # type: ignore[index, operator]
        values["shape"] = values["width"] / values["height"]  # type: ignore[index, operator]
    for name in theirs:
        grid = np.union1d(ours[name], theirs[name])
        mine, other = (np.searchsorted(np.sort(v[name]), grid, side="right") / n for v in (ours, theirs))
        # Kolmogorov-Smirnov: sqrt(n / 2) * distance > 2.7 has p = 9e-7.
        assert np.abs(mine - other).max() * np.sqrt(n / 2) < 2.7, name


def test_the_first_window_that_fits_is_taken() -> None:
    """One by one, from the same uniforms, as the method is written down."""
    part, n, height, width = RandomResizedCrop(scale=(0.5, 1.0), ratio=(0.4, 1.5)), 500, 20, 33
    draws = part.draw(keys_of(n), height, width)
    uniform = sample_doubles(keys_of(n), "random_resized_crop", 23)
    fallbacks = 0
    for index in range(n):
        for attempt in range(10):
            fraction, shape = uniform[index, 2 * attempt : 2 * attempt + 2]
            area = height * width * (0.5 + 0.5 * fraction)
            ratio = np.exp(np.log(0.4) + (np.log(1.5) - np.log(0.4)) * shape)
            columns, rows = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if columns <= width and rows <= height:
                top = int(uniform[index, 21] * (height - rows + 1))
                left = int(uniform[index, 20] * (width - columns + 1))
                break
        else:
            rows, columns = 20, 30
            top, left = 0, 1
            fallbacks += 1
        assert [draws[k][index] for k in ("top", "left", "height", "width")] == [top, left, rows, columns]
        assert draws["flip"][index] == (uniform[index, 22] < 0.5)
    assert fallbacks < n


def test_the_whole_image_stays_as_it_is() -> None:
    pixels = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    part = RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False)
    draws = {name: place(array, CPU) for name, array in part.draw(keys_of(5), 20, 20).items()}
    assert torch.equal(part.apply(pixels, draws), pixels)


def test_parts_behind_it_draw_for_its_size() -> None:
    augmentation = Augmentation([RandomResizedCrop(size=16), Ricap(per_sample=True)], (0.5,) * 3, (0.5,) * 3)
    draws = augmentation.draw(keys_of(40), 64, 48)
    assert draws.parts[1]["width"].max() == 16
    parts = [{name: place(array, CPU) for name, array in one.items()} for one in draws.parts]
    out = augmentation.transform(torch.zeros(40, 3, 64, 48, dtype=torch.uint8), parts)
    assert out.shape == (40, 3, 16, 16)


@pytest.mark.parametrize(
    "options",
    [{"scale": (0.0, 1.0)}, {"scale": (0.5, 0.4)}, {"scale": (0.5, 1.1)}, {"ratio": (0.0, 1.0)}, {"size": 0}],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"{next(iter(options))} must be"):
        RandomResizedCrop(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [RandomResizedCrop, CenterCrop, Ssl])
@pytest.mark.parametrize("size", [16_385, (4, 1_000_000)])
def test_sizes_that_no_memory_could_hold_are_refused(
    part: type[RandomResizedCrop | CenterCrop | Ssl], size: int | tuple[int, int]
) -> None:
    with pytest.raises(
        DataError, match=rf"size must be at most 16384 pixels; got {re.escape(str(size))}: take"
    ):
        part(size=size)
