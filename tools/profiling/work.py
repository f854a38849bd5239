"""Work of a step, and the peaks of the device: operations, bytes, FLOPs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tools.profiling.timing import wait_for
from trainer.session import Session

_COPIES = frozenset({"copy_", "_to_copy", "clone", "_copy_from"})
_SQUARE = {"cpu": 1024, "cuda": 8192}
"""Rows of the matrices that the peak of arithmetic is measured with."""

_BLOCK = {"cpu": 1 << 26, "cuda": 1 << 30}
"""Bytes of the memory that the peak of bandwidth is measured with."""

_SMALL_OPERATIONS = 400


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a step, and peaks of the device, measured.

    Attributes
    ----------
    flops
        Floating-point operations of a step by the run's account.
    operations, copies, bytes
        Operations that forward pass, backward pass and update launch, views not among them; how many of them
        copy; the bytes that they read and write, an upper limit of what goes to memory. None for compiled
        steps.
    beside
        Operations that a step launches besides, in augmentation and selection; None for compiled steps.
    peak_flops, peak_bytes
        Per second: of the product of two large matrices in the run's precision; of copying a large block.
    launch
        Seconds that a tiny operation takes, forward and backward, which is all overhead.
    """

    flops: float
    operations: int | None
    copies: int | None
    bytes: int | None
    beside: int | None
    peak_flops: float
    peak_bytes: float
    launch: float

    @property
    def launching(self) -> float:
        """Seconds that launching the network's operations takes, by their number."""
        return 0.0 if self.operations is None else self.operations * self.launch

    def memory_bound(self, seconds: float) -> bool:
        """Whether a network that takes ``seconds`` is held up by memory rather than by arithmetic."""
        if self.bytes is None or seconds <= 0:
            return False
        moved, counted = self.bytes / seconds / self.peak_bytes, self.flops / seconds / self.peak_flops
        return moved > 0.6 and moved > 2 * counted

    def table(self) -> Mapping[str, Any]:
        """Return the figures, as in the JSON file."""
        return asdict(self)


def work_of(session: Session, train: Callable[[], object], whole: Callable[[], object], steps: float) -> Work:
    """Count the work of a step, and measure the device's peaks.

    Parameters
    ----------
    train
        Makes the forward pass, the backward pass and the update of a step.
    whole
        Makes ``steps`` whole steps but their loading.
    """
    counted = None if session.run.compile else _count(train)
    everything = None if session.run.compile else _count(whole)
    costs, device = session.account.costs, session.device
    flops = costs.forward_flops * costs.step_passes * costs.train.get(session.pixels, 1.0)
    dtype = torch.bfloat16 if session.bf16 else torch.float32
    return Work(
        flops=flops * session.run.batch_size,
        operations=None if counted is None else counted.operations,
        copies=None if counted is None else counted.copies,
        bytes=None if counted is None else counted.bytes,
        beside=None if counted is None or everything is None else _beside(counted, everything, steps),
        peak_flops=_peak_flops(device, dtype),
        peak_bytes=_peak_bytes(device),
        launch=_launch(device),
    )


def _beside(train: _Operations, whole: _Operations, steps: float) -> int:
    return max(0, round(whole.operations / steps) - train.operations)


def _count(step: Callable[[], object]) -> _Operations:
    counter = _Operations()
    with counter:
        step()
    return counter


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations within its context, forward and backward."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.copies = self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view:
            return out
        tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, Tensor)]
        self.operations += 1
        self.copies += func.overloadpacket.__name__ in _COPIES
        self.bytes += sum(one.numel() * one.element_size() for one in tensors)
        return out


def _best(call: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the least seconds of a call, after one that isn't timed."""
    call()
    found = []
    for _ in range(repeats):
        wait_for(device)
        before = time.perf_counter()
        call()
        wait_for(device)
        found.append(time.perf_counter() - before)
    return min(found)


def _peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    size = _SQUARE[device.type]
    one = torch.ones(size, size, device=device, dtype=dtype)
    return 2 * size**3 / _best(lambda: one @ one, device)


def _peak_bytes(device: torch.device) -> float:
    count = _BLOCK[device.type]
    source, target = (torch.ones(count, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * count / _best(lambda: target.copy_(source), device)


def _launch(device: torch.device) -> float:
    """Return seconds per operation of a chain of tiny ones, forward and backward."""
    start = torch.ones(2, device=device, requires_grad=True)

    def chain() -> None:
        value = start
        for _ in range(_SMALL_OPERATIONS // 2):
            value = value * 0.5
        value.sum().backward()  # type: ignore[no-untyped-call]

    return _best(chain, device) / _SMALL_OPERATIONS
