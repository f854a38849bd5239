"""Memory of a step's tensors over its operations, by owner."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.session import Session

MOST_POINTS = 240
"""Points of a curve at most; of the operations between two, the one that holds most is kept."""

HELD = ("weights", "optimizer", "gradients", "activations", "temporary")
"""Owners of a step's tensors; temporary ones are those that no backward pass needs: batches among them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Bytes of the tensors alive after each operation of a step.

    Attributes
    ----------
    owners
        Bytes at every point, by owner.
    at
        Number of the operation of every point, from 0.
    operations
        Operations of the step.
    phases
        The step's phases, and the operation that each begins with.
    """

    owners: Mapping[str, Sequence[int]]
    at: Sequence[int]
    operations: int
    phases: Sequence[tuple[str, int]]

    def table(self) -> Mapping[str, Any]:
        """Return the figures, as in the JSON file."""
        return asdict(self)


def curve_of(session: Session, step: Callable[[], object]) -> Curve | None:
    """Follow the tensors of a step, made by ``step``; None for compiled steps, whose tensors aren't seen.

    What kernels allocate within themselves isn't seen either.
    """
    if session.run.compile:
        return None
    method, optimizer, ledger = session.method, session.step.optimizer, session.ledger
    tensors = _Tensors(session.device)

    def own() -> None:
        # No list of them is kept: the step could not free what is in it.
        tensors.own("weights", method.state_dict().values())
        state = (value for entry in optimizer.state.values() for value in entry.values())
        tensors.own("optimizer", (value for value in state if isinstance(value, Tensor)))
        grads = (value.grad for value in method.parameters())
        tensors.own("gradients", (grad for grad in grads if grad is not None))

    ledger.settle()
    ledger.spans = recorder = _Phases(tensors)
    try:
        own()
        with torch.autograd.graph.saved_tensors_hooks(tensors.saved, lambda tensor: tensor), tensors:
            step()
        own()
        ledger.settle()
    finally:
        ledger.spans = None
    return tensors.curve(recorder.begun)


class _Phases:
    """Receiver of a step's phases that notes at which operation each begins."""

    def __init__(self, tensors: _Tensors) -> None:
        self.step: int | None = None
        self.begun: list[tuple[str, int]] = []
        self._tensors, self._from = tensors, 0

    def add(self, lane: str, name: str, begin: float, end: float, number: int | None = None) -> None:
        """Take a phase that has ended; it began where the one before it did, as far as operations go."""
        if lane != "host":
            return
        if not self.begun or self.begun[-1][0] != name:
            self.begun.append((name, self._from))
        self._from = self._tensors.operations


class _Tensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The births and deaths of a device's storages within its context, by the operations before them."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self._device = device.type
        # Of each storage seen: its bytes, the operations between which it was alive, and its owner.
        self._sizes: list[int] = []
        self._born: list[int] = []
        self._died: dict[int, int] = {}
        self._owners: dict[int, str] = {}
        self._alive: dict[int, int] = {}

    def own(self, name: str, tensors: Iterable[Tensor]) -> None:
        """Name the owner of tensors; those not seen yet were there before the step."""
        for tensor in tensors:
            if (number := self._number(tensor)) is not None:
                self._owners[number] = name

    def saved(self, tensor: Tensor) -> Tensor:
        """Take a tensor that is kept for the backward pass."""
        if (number := self._number(tensor)) is not None:
            self._owners.setdefault(number, "activations")
        return tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._number(value)
        return out

    def _number(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor's storage; None for one without memory of its own."""
        storage = tensor.untyped_storage()
        if tensor.device.type != self._device or not storage.nbytes():
            return None
        address = storage.data_ptr()
        number = self._alive.get(address)
        if number is None:
            number = self._alive[address] = len(self._sizes)
            self._sizes.append(storage.nbytes())
            self._born.append(self.operations)
            weakref.finalize(storage, self._freed, address, number).atexit = False
        return number

    def _freed(self, address: int, number: int) -> None:
        self._died[number] = self.operations
        if self._alive.get(address) == number:
            del self._alive[address]

    def curve(self, phases: Sequence[tuple[str, int]]) -> Curve:
        """Return the bytes by owner after each operation, thinned."""
        changes = {name: np.zeros(self.operations + 2, np.int64) for name in HELD}
        for number, (size, born) in enumerate(zip(self._sizes, self._born, strict=True)):
            change = changes[self._owners.get(number, HELD[-1])]
            change[born] += size
            change[max(born, self._died.get(number, self.operations + 1))] -= size
        held = {name: change[: self.operations + 1].cumsum() for name, change in changes.items()}
        kept = _highest(np.sum(list(held.values()), axis=0))
        return Curve(
            {name: values[kept].tolist() for name, values in held.items()},
            kept.tolist(),
            self.operations,
            list(phases),
        )


def _highest(total: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of at most `MOST_POINTS` values, evenly spaced, of each part the highest."""
    if len(total) <= MOST_POINTS:
        return np.arange(len(total))
    edges = np.linspace(0, len(total), MOST_POINTS + 1).astype(np.int64)
    return np.array([low + total[low:high].argmax() for low, high in pairwise(edges)])
