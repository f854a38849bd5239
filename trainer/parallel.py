"""Data parallelism: torchrun's environment, and collectives between ranks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.errors import RunError

S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, slots=True)
class World:
    """This process's rank among those that train together; rank 0 of 1 without torchrun.

    Attributes
    ----------
    rank, size
        Global rank and world size.
    local_rank
        Rank within this machine, which is the index of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """True on the main rank (rank 0), which writes files and prints to the terminal."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Wrap in DistributedDataParallel; each rank keeps its own batch-normalization statistics."""
        if self.size == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        ddp = nn.parallel.DistributedDataParallel
        # Newer versions of torch renamed this option, and deprecate the old name.
        known = inspect.signature(ddp).parameters
        shared = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        # Statistics are broadcast before each evaluation (share_buffers), not at every step.
        options: dict[str, Any] = {shared: False}
        return ddp(model, device_ids=ids, **options)

    def interleave(self, rows: NDArray[S], sizes: Sequence[int]) -> NDArray[S]:
        """Gather equally many rows from each rank, ordered by step, then by rank.

        Parameters
        ----------
        rows
            This rank's rows, ordered by step.
        sizes
            Number of rows per step, the same on every rank.

        Returns
        -------
        NDArray
            ``size`` times as many rows, the same on every rank.
        """
        if self.size == 1:
            return rows
        mine = torch.from_numpy(np.ascontiguousarray(rows)).to(self._device())
        theirs = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(theirs, mine)
        table = torch.stack(theirs).cpu().numpy()
        steps = np.split(table, np.cumsum(sizes)[:-1], axis=1)
        return np.concatenate([step.ravel() for step in steps]).astype(rows.dtype, copy=False)

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over ranks."""
        if self.size > 1:
            values = values.to(self._device())
            dist.all_reduce(values)
        return values

    def gather(self, state: Any) -> list[Any]:
        """Gather the states of all ranks, in rank order, on every rank."""
        states = [state] * self.size
        if self.size > 1:
            # Pickled from the host: a GPU's tensors would be unpickled on that GPU in every process.
            dist.all_gather_object(states, _on_host(state))
        return states

    def agree(self, values: Mapping[int, float]) -> dict[int, float]:
        """Broadcast rank 0's values, so that different measurements don't make ranks diverge."""
        shared = [dict(values)]
        if self.size > 1:
            dist.broadcast_object_list(shared, src=0)
        return shared[0]

    def share_buffers(self, model: nn.Module) -> None:
        """Broadcast the batch-normalization statistics of rank 0 to every rank."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def barrier(self) -> None:
        """Wait until every rank has reached this call."""
        if self.size > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Return the logical OR of a flag across ranks, so that all act on it at the same step."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag))).item() > 0)

    @staticmethod
    def _device() -> torch.device:
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _on_host(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, Mapping):
        return {key: _on_host(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_on_host(value) for value in state)
    return state


def of_torchrun(name: str, default: int | None = None) -> int:
    """Return the number in one of torchrun's environment variables.

    Raises
    ------
    KeyError
        If it isn't set, and there is no default.
    RunError
        If it isn't a number.
    """
    text = os.environ[name] if default is None else os.environ.get(name, str(default))
    if not text.isdecimal():
        raise RunError(
            f"{name} must be a number, as torchrun sets it; got {text!r}: unset it, or use torchrun"
        )
    return int(text)


def join(device: str = "auto") -> World:
    """Initialize the process group if torchrun started this process.

    Parameters
    ----------
    device
        The run's device option, which determines the communication backend.

    Raises
    ------
    RunError
        If only some of torchrun's environment variables are set, or one isn't a number.
    """
    if "RANK" not in os.environ:
        return World()
    try:
        rank, size, local_rank = (of_torchrun(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except KeyError as missing:
        raise RunError(
            f"RANK is set, so {missing.args[0]} must be too; start the run with torchrun"
        ) from None
    if size > 1 and not dist.is_initialized():
        backend = "nccl" if device != "cpu" and torch.cuda.is_available() else "gloo"
        if backend == "nccl":
            torch.cuda.set_device(local_rank)
        try:
            dist.init_process_group(backend, rank=rank, world_size=size)
        except ValueError as error:
            # Of a rank beyond the others, or without an address to meet them at.
            fault = " ".join(str(error).split())
            raise RunError(
                f"ranks must be started by torchrun, which tells them of each other; {fault}"
            ) from None
    return World(rank, size, local_rank)


def leave() -> None:
    """Destroy the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
