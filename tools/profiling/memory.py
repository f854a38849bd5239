"""Memory of a training step by owner, and the batch that would fit."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import RawBatch
from pipeline.engines.protocol import holds_images
from pipeline.machine import free_memory
from tools.profiling.memory_curve import Curve, curve_of
from trainer.session import Session


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by owner, largest at the end of a forward pass.

    Attributes
    ----------
    owners
        Bytes of weights, gradients, the optimizer's state, activations kept for the backward pass, batches
        (those read ahead among them), the sampler's tables, and the data set where it is held in memory.
    device
        Which of the owners are on the training's device.
    peak
        Most bytes of the process, on a GPU of PyTorch's allocations there.
    free
        Bytes still free on that device.
    per_image
        Bytes that one more image per batch takes.
    batch_size
        Images per step.
    samples
        Images of the set.
    curve
        Bytes of the tensors alive over the operations of a step; None for compiled steps.
    """

    owners: Mapping[str, int]
    device: str
    peak: int
    free: int
    per_image: float
    batch_size: int
    samples: int
    curve: Curve | None = None

    @property
    def fits(self) -> int:
        """Images per step that would fit, with a tenth of the free memory left; no more than the set has."""
        if self.per_image <= 0:
            return 0
        return min(self.samples, self.batch_size + int(0.9 * self.free / self.per_image))

    def table(self) -> Mapping[str, Any]:
        """Return the figures, as in the JSON file."""
        names = ("device", "peak", "free", "per_image", "batch_size", "samples", "fits")
        figures = {name: getattr(self, name) for name in names}
        curve = None if self.curve is None else self.curve.table()
        return {"owners": dict(self.owners), **figures, "curve": curve}


def memory_of(
    session: Session,
    raw: RawBatch,
    step: Callable[[], object],
    images: int,
    ahead: int,
    whole: Callable[[], object],
) -> Memory:
    """Measure one training step.

    Parameters
    ----------
    raw
        A batch of the loader.
    step
        Makes a training step from it.
    images
        Images that the step trains on.
    ahead
        Batches that are read ahead.
    whole
        Makes all that the training loop does with a batch of the loader.
    """
    method, optimizer, device = session.method, session.step.optimizer, session.device
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {value.untyped_storage().data_ptr() for value in method.state_dict().values()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    activations = sum(size for pointer, size in kept.items() if pointer not in weights)
    parameters = list(method.parameters())
    state = [value for entry in optimizer.state.values() for value in entry.values()]
    batch = sum(_bytes(tensor) for tensor in raw.tensors())
    dataset = session.data.train
    resident = holds_images(session.run.engine)
    held = int(3 * (dataset.heights.astype(np.int64) * dataset.widths).sum()) if resident else 0
    owners = {
        "weights": sum(map(_bytes, method.state_dict().values())),
        "gradients": sum(_bytes(value.grad) for value in parameters if value.grad is not None),
        "optimizer": sum(_bytes(value) for value in state if isinstance(value, Tensor)),
        "activations": activations,
        "batches": batch * (1 + ahead),
        "sampler": _arrays(session.sampler.state_dict()),
        "data set": held,
    }
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + reserved
    else:
        # Kilobytes on Linux.
        peak, free = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, free_memory()
    per_image = activations / images + batch * (1 + ahead) / len(raw)
    curve = curve_of(session, whole)
    return Memory(owners, str(device), peak, free, per_image, session.run.batch_size, len(dataset), curve)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _arrays(state: object) -> int:
    """Return the bytes of all arrays in a nested state."""
    if isinstance(state, np.ndarray):
        return int(state.nbytes)
    if isinstance(state, Tensor):
        return _bytes(state)
    if isinstance(state, Mapping):
        return sum(map(_arrays, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_arrays, state))
    return 0
