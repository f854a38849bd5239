"""The loaders of ``trainer bench loaders``: this project's engines and four peers, with equal work and data.

Every side yields uint8 batches of a data set in a new random order each epoch, JPEGs as random resized crops.
Each runs in a separate process (`tools.bench.loader_worker`), because some set the process's number of
threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import ENGINES, Augmentation, Loader, open_dataset
from pipeline.augment.random_resized_crop import RandomResizedCrop

_DALI_AHEAD = 3


@dataclass(frozen=True)
class Side:
    """A loader, ready to be measured.

    Attributes
    ----------
    epoch
        Makes one pass over the data and yields the number of images in each batch.
    ahead
        Maximum number of prefetched batches of the next epoch.
    """

    epoch: Callable[[], Iterator[int]]
    ahead: int = 0


@dataclass(frozen=True)
class Work:
    """Work of a side.

    Attributes
    ----------
    side
        A key of `SIDES`.
    engine
        Name of this project's engine; empty for peers.
    data
        The data set: a ``.beton`` file, or a folder of tar shards.
    files
        Folder of the same images as JPEG files, one folder per class; empty if images are raw.
    pixels
        Height and width of the crops; 0 for whole images.
    batch_size, threads
        The same for every side; number of processes if the side uses processes.
    """

    side: str
    engine: str
    data: str
    files: str
    pixels: int
    batch_size: int
    threads: int


@dataclass(frozen=True)
class _Order:
    round: int
    ids: NDArray[np.int64]
    weights: None = None


def ours(work: Work) -> Side:
    """Return an engine of this project in its loader; crops not made by it are made as in training."""
    dataset = open_dataset(Path(work.data))
    crop = RandomResizedCrop(size=work.pixels) if work.pixels else None
    augmentation = None if crop is None else Augmentation([crop], (0.5,) * 3, (0.25,) * 3)
    part: Any = ENGINES[work.engine]
    engine = part(threads=work.threads)
    loader = Loader(dataset, engine=engine, batch_size=work.batch_size, augment=augmentation, device="cpu")
    rounds = 0

    def epoch() -> Iterator[int]:
        nonlocal rounds
        rounds += 1
        order = _Order(rounds, np.random.default_rng(rounds).permutation(len(dataset)))
        for batch in loader.raw_batches(order):
            (view,), images = batch.views, batch.images
            if crop is not None and not view.cropped:
                images = crop.apply(images, view.draws[0])
            yield len(images)

    return Side(epoch)


def ffcv_loader(work: Work) -> Side:
    """Return FFCV's own Loader on the same file, which is in the operating system's page cache."""
    loader = importlib.import_module("ffcv.loader")
    fields = importlib.import_module("ffcv.fields.decoders")
    image = importlib.import_module("ffcv.fields.rgb_image")
    to_tensor = importlib.import_module("ffcv.transforms").ToTensor
    decoder = image.SimpleRGBImageDecoder()
    if work.pixels:
        decoder = image.RandomResizedCropRGBImageDecoder((work.pixels, work.pixels))
    batches = loader.Loader(
        work.data,
        batch_size=work.batch_size,
        num_workers=work.threads,
        os_cache=True,
        order=loader.OrderOption.RANDOM,
        drop_last=False,
        pipelines={"image": [decoder, to_tensor()], "label": [fields.IntDecoder(), to_tensor()]},
    )
    return Side(lambda: (len(images) for images, _ in batches))


def dali(work: Work) -> Side:
    """Return a typical DALI pipeline: its own reader of tar shards, its own random crops."""
    pipeline_def = importlib.import_module("nvidia.dali").pipeline_def
    fn = importlib.import_module("nvidia.dali.fn")
    types = importlib.import_module("nvidia.dali.types")
    torch_plugin = importlib.import_module("nvidia.dali.plugin.pytorch")
    shards = sorted(Path(work.data).glob("*.tar"))

    options = {"batch_size": work.batch_size, "num_threads": work.threads, "device_id": None}

    @pipeline_def(**options, prefetch_queue_depth=_DALI_AHEAD)  # type: ignore[untyped-decorator]
    def batches() -> Any:
        encoded = fn.readers.webdataset(
            paths=[str(shard) for shard in shards],
            index_paths=[str(shard.with_suffix(".idx")) for shard in shards],
            ext=["jpg"],
            random_shuffle=True,
            name="reader",
        )
        images = fn.decoders.image_random_crop(
            encoded, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
        )
        return fn.resize(images, size=[work.pixels] * 2, antialias=True, interp_type=types.INTERP_LINEAR)

    iterator = torch_plugin.DALIGenericIterator(
        [batches()],
        ["images"],
        reader_name="reader",
        last_batch_policy=torch_plugin.LastBatchPolicy.PARTIAL,
        auto_reset=True,
    )
    return Side(lambda: (len(batch[0]["images"]) for batch in iterator), ahead=_DALI_AHEAD)


def dataloader_pil(work: Work) -> Side:
    """Return PyTorch's DataLoader over a folder of JPEG files, with Pillow and torchvision's transforms."""
    data = importlib.import_module("torch.utils.data")
    datasets = importlib.import_module("torchvision.datasets")
    loader = data.DataLoader(
        datasets.ImageFolder(work.files, _transform(work.pixels)),
        batch_size=work.batch_size,
        shuffle=True,
        num_workers=work.threads,
        persistent_workers=True,
    )
    return Side(lambda: (len(images) for images, _ in loader))


def webdataset(work: Work) -> Side:
    """Return the webdataset package on the same shards, with Pillow and torchvision's transforms."""
    wds = importlib.import_module("webdataset")
    shards = [str(shard) for shard in sorted(Path(work.data).glob("*.tar"))]
    transform = _transform(work.pixels)
    samples = wds.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
    samples = samples.shuffle(1024).decode("pil").to_tuple("jpg", "cls").map_tuple(transform, int)
    loader = wds.WebLoader(
        samples.batched(work.batch_size, partial=True),
        batch_size=None,
        num_workers=min(work.threads, len(shards)),
        persistent_workers=True,
    )
    return Side(lambda: (len(images) for images, _ in loader))


SIDES: dict[str, Callable[[Work], Side]] = {
    "ours": ours,
    "ffcv-loader": ffcv_loader,
    "dali": dali,
    "dataloader-pil": dataloader_pil,
    "webdataset": webdataset,
}
"""Every side by its name in the rows."""


def _transform(pixels: int) -> Callable[[Any], Any]:
    v2 = importlib.import_module("torchvision.transforms.v2")
    transform: Callable[[Any], Any] = v2.Compose(
        [v2.RandomResizedCrop(pixels, antialias=True), v2.PILToTensor()]
    )
    return transform
