"""Several views of a sample: what every engine keeps to, on raw pixels and on JPEGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline import ENGINES, Augmentation, EngineConfig, Loader, Views, open_dataset
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.standard import Standard
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.crop import Crop, Windows
from pipeline.formats import Converted
from pipeline.resolution import Stage
from pipeline.sources import ArraySource

CPU = torch.device("cpu")
SAMPLES, HEIGHT, WIDTH = 24, 40, 30
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)

every_engine = pytest.mark.parametrize("engine", [part() for part in ENGINES.values()], ids=list(ENGINES))
every_store = pytest.mark.parametrize("store", ["raw", "jpeg"])


@dataclass(frozen=True)
class Order:
    ids: NDArray[np.int64]
    round: int = 2
    weights: None = None


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Converted]:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("views")
    coarse = rng.integers(0, 256, (SAMPLES, 5, 5, 3), dtype=np.uint8)
    resized = [Image.fromarray(one).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for one in coarse]
    images = np.stack([np.asarray(image) for image in resized])
    source = ArraySource("noise", "train", "noise", ("a", "b"), np.arange(SAMPLES) % 2, images)
    for encoding in ("raw", "jpeg"):
        convert(source, folder / f"{encoding}.beton", ConvertOptions(encoding=encoding))
    return {encoding: open_dataset(folder / f"{encoding}.beton") for encoding in ("raw", "jpeg")}


def crop(size: int = 24, **options: tuple[float, float]) -> Augmentation:
    return Augmentation([RandomResizedCrop(size=size, **options), ColorJitter()], MEAN, STD)  # type: ignore[arg-type]


def order(count: int = 50) -> Order:
    return Order(np.random.default_rng(count).integers(0, SAMPLES, count))


def load(
    data: Converted,
    augment: Augmentation | Views,
    engine: EngineConfig,
    *,
    start: int = 0,
    stage: Stage | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> list[tuple[Tensor, ...]]:
    """Every batch's views."""
    options = {"batch_size": 16, "seed": 7, "rank": rank, "world_size": ranks}
    with Loader(data, engine=engine, augment=augment, device="cpu", **options) as loader:
        return [batch.views for batch in loader.batches(order(), start, stage=stage)]


def same(ours: Sequence[tuple[Tensor, ...]], theirs: Sequence[tuple[Tensor, ...]]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(*views) for one, other in pairs for views in zip(one, other, strict=True))


@every_engine
@every_store
def test_the_first_view_is_what_it_is_alone(
    sets: dict[str, Converted], store: str, engine: EngineConfig
) -> None:
    alone = load(sets[store], crop(), engine)
    assert same(alone, load(sets[store], Views((crop(),)), engine))
    several = load(sets[store], Views((crop(), crop(), crop(16))), engine)
    assert same(alone, [views[:1] for views in several])


@every_engine
@every_store
def test_views_draw_independently_of_each_other(
    sets: dict[str, Converted], store: str, engine: EngineConfig
) -> None:
    pair = load(sets[store], Views((crop(), crop())), engine)
    for one, other in pair:
        assert not (one == other).flatten(1).all(dim=1).any()
    # Another augmentation of one view changes no draw of another.
    small = load(sets[store], Views((crop(16), crop(), crop(12))), engine)
    assert same([views[1:] for views in pair], [views[1:2] for views in small])
    # An id that stands several times in the order draws again in every view.
    ids, second = order().ids, torch.cat([views[1] for views in pair])
    twice = next(index for index in range(SAMPLES) if (ids == index).sum() > 1)
    first, again = np.flatnonzero(ids == twice)[:2].tolist()
    assert not torch.equal(second[first], second[again])


@every_engine
@every_store
def test_views_resume_at_any_batch(sets: dict[str, Converted], store: str, engine: EngineConfig) -> None:
    views = Views((crop(), crop(16)))
    whole = load(sets[store], views, engine)
    for start in range(5):
        assert same(whole[start:], load(sets[store], views, engine, start=start))


@every_engine
def test_ranks_have_the_parts_of_every_view(sets: dict[str, Converted], engine: EngineConfig) -> None:
    views = Views((crop(), crop(16)))
    whole = load(sets["raw"], views, engine)
    parts = [load(sets["raw"], views, engine, rank=rank, ranks=4) for rank in range(4)]
    joined = [tuple(map(torch.cat, zip(*step, strict=True))) for step in zip(*parts, strict=True)]
    assert same(whole, joined)


def test_views_of_raw_images_are_equal_from_every_engine(sets: dict[str, Converted]) -> None:
    for views in (
        Views((crop(), crop(16), crop(30, scale=(0.9, 1.0)))),
        Views((crop(), Augmentation([Standard()], MEAN, STD))),
    ):
        first, *others = [load(sets["raw"], views, part()) for part in ENGINES.values()]
        for other in others:
            assert same(first, other)


@every_engine
@every_store
def test_sizes_are_fractions_of_the_stages(
    sets: dict[str, Converted], store: str, engine: EngineConfig
) -> None:
    views = Views((crop(), crop(), Augmentation([Standard()], MEAN, STD)), (1.0, 0.5, 0.25))
    stage = Stage(24, resolution=0.8)
    (batch, *_) = load(sets[store], views, engine, stage=stage)
    assert [tuple(view.shape[2:]) for view in batch] == [(32, 24), (16, 12), (8, 6)]


def windows(count: int, seed: int) -> Windows:
    rng = np.random.default_rng(seed)
    high, wide = rng.integers(1, HEIGHT + 1, count), rng.integers(1, WIDTH + 1, count)
    top, left = rng.integers(0, HEIGHT - high + 1), rng.integers(0, WIDTH - wide + 1)
    return Windows(top, left, high, wide, rng.random(count) < 0.5)


@every_engine
@every_store
@pytest.mark.parametrize("count", [1, 30])
def test_a_sample_is_decoded_once_for_all_its_views(
    sets: dict[str, Converted], store: str, engine: EngineConfig, count: int
) -> None:
    ids = np.random.default_rng(count).integers(0, SAMPLES, count)
    crops = [Crop(windows(count, size), size, size + 1) for size in (24, 31, 40)]
    reader = engine.open(sets[store], CPU)
    before = reader.decoded
    views = reader.read_views(ids, crops)
    decoded = reader.decoded - before
    # An engine that decodes a set when it is opened has nothing left to decode.
    assert decoded == (0 if store == "raw" or before else count)
    assert same([views], [tuple(reader.read(ids, crop) for crop in crops)])
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in views)
    reader.close()


@every_engine
@every_store
def test_whole_images_are_read_once_for_all_views(
    sets: dict[str, Converted], store: str, engine: EngineConfig
) -> None:
    views = Views((Augmentation([Standard()], MEAN, STD), crop()))
    with Loader(sets[store], engine=engine, batch_size=16, augment=views, device="cpu") as loader:
        raw = next(loader.raw_batches(order()))
    assert len(raw.views) == 2
    assert raw.views[0].images is raw.views[1].images
    one, other = raw.augment().views
    assert one.shape[2:] == (HEIGHT, WIDTH)
    assert other.shape[2:] == (24, 24)


@every_engine
def test_views_are_read_again_at_another_size(sets: dict[str, Converted], engine: EngineConfig) -> None:
    views, indices = Views((crop(), crop()), (1.0, 0.5)), np.array([3, 0])
    with Loader(sets["raw"], engine=engine, batch_size=8, augment=views, device="cpu") as loader:
        raw = next(loader.raw_batches(order(), stage=Stage(12)))
        whole = next(loader.batches(order(), stage=Stage(24)))
        again = loader.reread(raw, indices, Stage(24)).augment()
    assert same([again.views], [tuple(view[indices] for view in whole.views)])


def test_the_sets_differ_in_their_encoding(sets: dict[str, Converted]) -> None:
    """Or half of the suite would be for nothing."""
    assert sets["jpeg"].compressed.all()
    assert not sets["raw"].compressed.any()
