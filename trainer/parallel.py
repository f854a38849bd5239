"""Data parallelism: torchrun's environment, and what ranks tell each other."""

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
    """This process's place among those that train together; alone, rank 0 of 1.

    Attributes
    ----------
    rank, size
        As torchrun numbers them.
    local_rank
        Number within this machine, which is the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this rank writes files and speaks on the terminal."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Average gradients over ranks; each rank keeps its own batch-normalisation statistics."""
        if self.size == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        ddp = nn.parallel.DistributedDataParallel
        # Newer versions of torch have another name for it, and warn of the old one.
        known = inspect.signature(ddp).parameters
        shared = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        # Statistics are shared before each evaluation (share_buffers), not at every step.
        options: dict[str, Any] = {shared: False}
        return ddp(model, device_ids=ids, **options)

    def interleave(self, rows: NDArray[S], sizes: Sequence[int]) -> NDArray[S]:
        """Gather equally many rows from each rank, so that each step's rows stand in rank order.

        Parameters
        ----------
        rows
            This rank's rows, one step after the other.
        sizes
            Rows of each step, the same on every rank.

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
        """Give every rank's state, by rank, to all of them."""
        states = [state] * self.size
        if self.size > 1:
            # As pickles: a GPU's tensors would come back on that GPU, in every process.
            dist.all_gather_object(states, _on_host(state))
        return states

    def agree(self, values: Mapping[int, float]) -> dict[int, float]:
        """Take rank 0's values, so that what each rank measured doesn't lead them apart."""
        told = [dict(values)]
        if self.size > 1:
            dist.broadcast_object_list(told, src=0)
        return told[0]

    def share_buffers(self, model: nn.Module) -> None:
        """Give every rank the batch-normalisation statistics of rank 0."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier()

    def any(self, wish: bool) -> bool:
        """Whether any rank has the wish, so that all act on it at the same step."""
        if self.size == 1:
            return wish
        return bool(self.sum(torch.tensor(float(wish))).item() > 0)

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


def join(device: str = "auto") -> World:
    """Join the processes that torchrun started; alone when it started none.

    Parameters
    ----------
    device
        What the run asks for: it decides how ranks talk to each other.

    Raises
    ------
    RunError
        When torchrun's variables are there only in part.
    """
    if "RANK" not in os.environ:
        return World()
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ["LOCAL_RANK"])
    except KeyError as missing:
        raise RunError(
            f"RANK is set, so {missing.args[0]} must be too; start the run with torchrun"
        ) from None
    if size > 1 and not dist.is_initialized():
        backend = "nccl" if device != "cpu" and torch.cuda.is_available() else "gloo"
        if backend == "nccl":
            torch.cuda.set_device(local_rank)
        dist.init_process_group(backend, rank=rank, world_size=size)
    return World(rank, size, local_rank)


def leave() -> None:
    """Leave the group, if this process joined one."""
    if dist.is_initialized():
        dist.destroy_process_group()
