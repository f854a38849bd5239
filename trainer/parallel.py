"""Data parallelism: torchrun's environment, and collectives between ranks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.ops.packing import packed
from trainer.errors import RunError

S = TypeVar("S", bound=np.generic)

_LONGEST_WAIT = timedelta(days=2)
"""Between hosts, while one rank converts a data set; collectives of training keep torch's minutes."""


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
        # Statistics are broadcast before each evaluation (share_buffers), not at every step. Gradients are
        # views of what is reduced, which saves a copy of all of them per step.
        options: dict[str, Any] = {shared: False, "gradient_as_bucket_view": True}
        return ddp(model, device_ids=ids, **options)

    def interleave(
        self, columns: Sequence[NDArray[Any]], sizes: Sequence[Sequence[int]]
    ) -> list[NDArray[Any]]:
        """Gather equally many rows from each rank, ordered by step, then by rank, of several columns at once.

        All columns travel as bytes in one collective between the hosts, so that no GPU is waited for.

        Parameters
        ----------
        columns
            This rank's rows of each, ordered by step. Types, and numbers of rows, are the same on every rank.
        sizes
            Number of rows per step, of each column.

        Returns
        -------
        list of NDArray
            ``size`` times as many rows of each, the same on every rank.
        """
        if self.size == 1:
            return list(columns)
        mine, layout = packed(columns)
        group = _BETWEEN_HOSTS.group
        sent = torch.from_numpy(mine).to(self._device() if group is None else torch.device("cpu"))
        theirs = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(theirs, sent, group)
        ranks = [layout.arrays(rank) for rank in torch.stack(theirs).cpu().numpy()]
        gathered = []
        for column, rows_per_step in enumerate(sizes):
            bounds = np.cumsum(rows_per_step)[:-1]
            steps = zip(*(np.split(rank[column], bounds) for rank in ranks), strict=True)
            gathered.append(np.concatenate([rows for step in steps for rows in step]))
        return gathered

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
        """Wait until every rank has reached this call, however long one of them works before it.

        On the host: NCCL's watchdog would end the job after ten minutes.
        """
        if self.size > 1:
            dist.barrier(_BETWEEN_HOSTS.group)

    def any(self, flag: bool) -> bool:
        """Return the logical OR of a flag across ranks, so that all act on it at the same step."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag))).item() > 0)

    @staticmethod
    def _device() -> torch.device:
        return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


@dataclass(slots=True)
class _BetweenHosts:
    """The ranks' group over gloo; None where somebody else made the default one, which is then used."""

    group: dist.ProcessGroup | None = None


_BETWEEN_HOSTS = _BetweenHosts()


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
        If only some of torchrun's environment variables are set, or one isn't a number; if this machine has
        fewer GPUs than ranks, or ``device`` names one of them for all ranks.
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
        check_ranks_device(device, size)
        own = None
        if device != "cpu" and torch.cuda.is_available():
            check_ranks_gpu(local_rank, torch.cuda.device_count())
            own = torch.device("cuda", local_rank)
            torch.cuda.set_device(own)
        try:
            dist.init_process_group(
                "gloo" if own is None else "nccl", rank=rank, world_size=size, device_id=own
            )
            group = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
            # What stands for a group in processes outside of it is none; here all are in it.
            _BETWEEN_HOSTS.group = group if isinstance(group, dist.ProcessGroup) else None
        except ValueError as error:
            # Of a rank beyond the others, or without an address to meet them at.
            fault = " ".join(str(error).split())
            raise RunError(
                f"ranks must be started by torchrun, which tells them of each other; {fault}"
            ) from None
    return World(rank, size, local_rank)


def check_ranks_device(device: str, size: int) -> None:
    """Refuse one GPU for several ranks.

    Raises
    ------
    RunError
        With the device that gives each rank its own.
    """
    if size > 1 and device.startswith("cuda:"):
        raise RunError(
            f"device must be cuda for {size} ranks, each of which takes the GPU of its own number; "
            f"got {device}"
        )


def check_ranks_gpu(local_rank: int, gpus: int) -> None:
    """Refuse a rank that this machine has no GPU for.

    Raises
    ------
    RunError
        With the number of GPUs.
    """
    if local_rank >= gpus:
        raise RunError(
            f"ranks on a machine must be at most its {gpus} GPUs; this is LOCAL_RANK {local_rank}: "
            f"start {gpus} per machine (torchrun --nproc-per-node {gpus}), or give --device cpu"
        )


def leave() -> None:
    """Destroy the process group, if there is one."""
    _BETWEEN_HOSTS.group = None
    if dist.is_initialized():
        dist.destroy_process_group()
