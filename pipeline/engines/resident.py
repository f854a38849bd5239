"""Engine that decodes the whole data set once, into one tensor on the device."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.crop import Crop
from pipeline.engines.crew import Crew
from pipeline.engines.held import Held
from pipeline.engines.protocol import Dataset, check_ids, check_threads, thread_count
from pipeline.engines.stored import (
    StoredSamples,
    check_crop,
    check_whole,
    describe,
    shared_shape,
    sides,
)
from pipeline.errors import DataError, one_line
from pipeline.kernels.gray import resize_gray_windows
from pipeline.kernels.resize import resize_windows
from pipeline.modes import PIXELS
from pipeline.ops.memory import Blocks, as_levels, place, place_all
from pipeline.ops.resize import resize, taps

_HELD = Held()
"""Host memory held by this process's open sets."""

Decoder = Literal["cpu", "gpu"]

_CHUNK = 1 << 26
"""Bytes decoded at a time on their way to a device."""
_STRETCH = 64
"""Number of samples per unit of work of a decoding thread."""
_SMALL = 128 * 128
"""Maximum pixels of an image that is cropped too fast for another thread to pay."""
_KEPT_FREE = 0.15
"""Fraction of a device's free memory that a data set leaves to the network and its steps."""
_RESIZED = 1 << 16
"""Minimum bytes of a batch per worker thread: less is copied sooner than another thread wakes up."""


@dataclass(frozen=True)
class ResidentEngine:
    """Decode everything once into memory (the GPU's, if there is one): fastest for sets that fit."""

    threads: int = 0
    """Number of threads that decode when the set is opened, and read on the CPU; 0 for one per core."""
    decoder: Decoder = "cpu"
    """Device on which JPEGs are decoded for a CUDA device: "cpu", or "gpu" for torchvision's decoder there,
    which rounds otherwise."""

    holds_images: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.decoder not in get_args(Decoder):
            raise DataError(f"decoder must be one of {', '.join(get_args(Decoder))}; got {self.decoder!r}")

    def open(self, dataset: Dataset, device: torch.device) -> ResidentReader:
        """Decode the data set; see `EngineConfig.open`."""
        return ResidentReader(dataset, device, thread_count(self.threads), self.decoder)


class ResidentReader:
    """A data set held decoded on the device: bytes, image after image, rows of pixels."""

    def __init__(
        self, dataset: Dataset, device: torch.device, threads: int, decoder: Decoder = "cpu"
    ) -> None:
        self.height: int | None
        self.width: int | None
        self.height, self.width = shared_shape(dataset)
        # On the CPU these kernels are faster than the operations that crop on a device.
        self.crops = self.height is None or device.type == "cpu"
        # Cropping large images is worth a thread; gathering whole ones, and cropping small ones, isn't.
        self.asynchronous = self.crops and int((dataset.heights * dataset.widths).max()) > _SMALL
        self._dataset = dataset
        self._device = device
        self._blocks = Blocks(pinned=False)
        self._pixels = PIXELS[dataset.mode]
        self._stride = self._pixels.stride
        self._windows = resize_windows if self._pixels.channels == 3 else resize_gray_windows
        ends = np.cumsum(self._stride * dataset.heights * dataset.widths)
        needed = int(ends[-1])
        refusal = _HELD.take(needed) if device.type == "cpu" else _refusal_of(device, needed)
        if refusal is not None:
            raise _too_large(dataset, device, refusal)
        if device.type == "cpu":
            self._release = weakref.finalize(self, _HELD.release, needed)
        try:
            self._store = torch.empty(needed, dtype=torch.uint8, device=device)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise _too_large(dataset, device, f"{needed:,} bytes, which can't be had ({reason})") from None
        with Crew(threads, "resident") as crew:
            if device.type == "cpu":
                self._samples = describe(dataset, self._store.data_ptr() + np.append(0, ends[:-1]))
                _decode(dataset, slice(0, len(dataset)), self._store.numpy(), crew)
            else:
                shape = check_whole(dataset, (self.height, self.width))
                images = self._store.view(len(dataset), *shape, self._stride)
                _fill(dataset, images, crew, decoder)
        self.decoded = int(dataset.compressed.sum())
        # From here on the files aren't read any more.
        dataset.check_unchanged()
        self._crew = Crew(threads, "resident")

    def read(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
        """Gather images on the device; see `Reader.read`."""
        if crop is not None:
            check_ids(ids, self._dataset)
            check_crop(ids, crop, self._dataset)
            return self._crop(ids, crop) if self._device.type == "cpu" else self._crop_there(ids, crop)
        if self.height is None or self.width is None or self._device.type != "cpu":
            check_ids(ids, self._dataset)
            height, width = check_whole(self._dataset, (self.height, self.width))
            return self._whole_there(place(ids, self._device), height, width).permute(0, 3, 1, 2)
        batch = self._blocks.empty(len(ids), self.height, self.width, self._stride)
        rows = self._store.view(-1, self._stride * self.height * self.width)
        try:
            torch.index_select(rows, 0, place(ids, self._device), out=batch.view(len(ids), rows.shape[1]))
        except IndexError:  # Without the id.
            check_ids(ids, self._dataset)
            raise
        return as_levels(batch, self._pixels.dtype).permute(0, 3, 1, 2)

    def read_views(self, ids: NDArray[np.int64], crops: Sequence[Crop]) -> tuple[Tensor, ...]:
        """Cut several windows out of each image; see `Reader.read_views`."""
        return tuple(self.read(ids, crop) for crop in crops)

    def close(self) -> None:
        """End the threads and free the memory."""
        self._crew.close()
        self._store = torch.empty(0, dtype=torch.uint8)
        if self._device.type == "cpu":
            self._release()

    def _crop(self, ids: NDArray[np.int64], crop: Crop) -> Tensor:
        batch = self._blocks.empty(len(ids), crop.height, crop.width, self._stride)
        batch = as_levels(batch, self._pixels.dtype)
        out, windows = batch.numpy(), sides(crop.windows)

        def work(part: slice) -> None:
            flips = crop.windows.flip[part]
            self._windows(self._samples, ids[part], windows[part], flips, out[part])

        self._crew.share_out(len(ids), out.nbytes // _RESIZED, work)
        return batch.permute(0, 3, 1, 2)

    def _whole_there(self, ids: Tensor, height: int, width: int) -> Tensor:
        stored = self._store.view(-1, height, width, self._stride)
        found = torch.index_select(stored, 0, ids)
        return as_levels(found, self._pixels.dtype)

    def _crop_there(self, ids: NDArray[np.int64], crop: Crop) -> Tensor:
        """Crop on the device, by the operations of augmentations."""
        height, width = check_whole(self._dataset, (self.height, self.width))
        windows, there = crop.windows, self._device
        drawn = (windows.top, windows.left, windows.height, windows.width, windows.flip)
        at, top, left, high, wide, flip = place_all((ids, *drawn), there)
        rows = taps(top, high, height, crop.height)
        columns = taps(left, wide, width, crop.width, flip)
        return resize(self._whole_there(at, height, width), rows, columns).permute(0, 3, 1, 2)


def _decode(dataset: Dataset, samples: slice, out: NDArray[np.uint8], crew: Crew) -> None:
    """Decode the given samples in sequence into ``out``, uint8[bytes]."""
    sizes = PIXELS[dataset.mode].stride * dataset.heights[samples] * dataset.widths[samples]
    ends = np.cumsum(sizes)

    def work(part: slice) -> None:
        for index in range(part.start, part.stop):
            image = dataset.image(samples.start + index)
            out[ends[index] - sizes[index] : ends[index]] = image.reshape(-1).view(np.uint8)

    crew.share_out(len(sizes), -(-len(sizes) // _STRETCH), work)


def _fill(dataset: Dataset, images: Tensor, crew: Crew, decoder: Decoder) -> None:
    """Decode all samples in blocks, and copy them to ``images``, uint8[n, H, W, bytes] on another device."""
    stored = StoredSamples(dataset)
    step, told = max(1, _CHUNK // max(1, images[0].numel())), False
    for start in range(0, len(images), step):
        chunk, samples = images[start : start + step], slice(start, min(start + step, len(images)))
        vouched = dataset.checksums is not None and bool(dataset.compressed[samples].all())
        vouched = vouched and dataset.mode == "RGB"
        if decoder == "gpu" and vouched:
            refusal = decode_there(stored, np.arange(len(images))[samples], chunk)
            if refusal is None:
                continue
            told = told or _tell(dataset, images.device, refusal)
        host = torch.empty(chunk.shape, dtype=torch.uint8)
        _decode(dataset, samples, host.view(-1).numpy(), crew)
        chunk.copy_(host)


def _tell(dataset: Dataset, device: torch.device, refusal: str) -> bool:
    """Warn that the CPU decodes what a device was asked to; True."""
    warnings.warn(
        f"{dataset.path} is decoded on the CPU, as far as torchvision can't on {device} ({refusal}): "
        "--engine.decoder cpu says so from the start",
        stacklevel=2,
    )
    return True


def decode_there(stored: StoredSamples, ids: NDArray[np.int64], out: Tensor) -> str | None:
    """Decode JPEGs by torchvision on the device of ``out``, uint8[n, H, W, 3]; return why it didn't, if so.

    The decoder on the CPU then reports which of them is damaged, if any is.

    Raises
    ------
    CorruptSampleError
        When bytes aren't those that were written.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError as error:
        return one_line(str(error))
    stored.check(ids)
    files = [torch.from_numpy(stored.bytes(index).copy()) for index in ids]
    try:
        with warnings.catch_warnings():
            # Deprecated since 0.29, in favor of another package, which isn't a dependency.
            warnings.simplefilter("ignore", DeprecationWarning)
            pictures = decode_jpeg(files, mode=ImageReadMode.RGB, device=out.device)
    except RuntimeError as error:
        return one_line(str(error).partition("\n")[0])
    if any(picture.shape != (3, *out.shape[1:3]) for picture in pictures):
        return "it decodes images of another shape"
    torch.stack([picture.permute(1, 2, 0) for picture in pictures], out=out)
    return None


def _refusal_of(device: torch.device, needed: int) -> str | None:
    """Return the reason why ``needed`` bytes don't fit on a CUDA device; None if they do."""
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return beyond(needed, torch.cuda.mem_get_info(device)[0], cached)


def beyond(needed: int, free: int, cached: int) -> str | None:
    """Return the reason why ``needed`` bytes are too many for a device; None if they aren't.

    Parameters
    ----------
    free, cached
        Bytes that nobody holds, and bytes that PyTorch's allocator holds and nobody uses: it returns those
        before it runs out of memory.
    """
    room = int((1 - _KEPT_FREE) * (free + cached))
    if needed <= room:
        return None
    return (
        f"{needed / 2**30:,.1f} GiB, and training leaves it at most {room / 2**30:,.1f} GiB of what is free"
    )


def _too_large(dataset: Dataset, device: torch.device, reason: str) -> DataError:
    return DataError(
        f"the resident engine must hold all of {dataset.path} decoded on {device}, {reason}: use the ffcv "
        "engine, which reads batch by batch (--engine ffcv), or convert to smaller images"
    )
