"""Room on the machine for runs side by side: cores, GPUs and memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.machine import cores, free_memory
from trainer.errors import RunError

SPARE = 0.05
"""Fraction of the free memory that is left alone."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One of several places in which a run can be trained.

    Attributes
    ----------
    cores
        Numbers of its processor cores; empty for all of the process's.
    gpu
        The GPU's index or id, as CUDA_VISIBLE_DEVICES has it; None without GPUs.
    """

    cores: tuple[int, ...] = ()
    gpu: str | None = None


def slots(jobs: int, devices: Sequence[str], threads: int = 1) -> list[Slot]:
    """Share out cores and GPUs among ``jobs`` runs.

    Parameters
    ----------
    devices
        Values of ``device`` of the runs; those that name cpu or one GPU are left as they are.
    threads
        The most threads that a run asks for.

    Raises
    ------
    RunError
        If there are fewer cores than runs, or than threads of runs side by side.
    """
    available = cores()
    if not 1 <= jobs <= available:
        raise RunError(
            f"--jobs must be at least 1 and at most the {available} cores that this process may use; got "
            f"{jobs}"
        )
    if jobs > 1 and jobs * threads > available:
        raise RunError(
            f"--jobs must be at most {max(1, available // threads)} for runs of {threads} threads on "
            f"{available} cores; got {jobs}: give fewer, or leave threads out of the study"
        )
    numbers = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus = _gpus() if any(device in ("auto", "cuda") for device in devices) else []
    each = available // jobs
    return [
        Slot(
            cores=tuple(numbers[job * each : (job + 1) * each]) if jobs > 1 else (),
            gpu=gpus[job % len(gpus)] if gpus else None,
        )
        for job in range(jobs)
    ]


def _gpus() -> list[str]:
    """Return the GPUs that this process sees, without starting CUDA in it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    return [str(gpu) for gpu in range(torch.cuda.device_count())]


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has in use; 0 for one that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def fits(peak: int, running: Sequence[int], free: int | None = None) -> bool:
    """Return whether another run has room beside those that run.

    Parameters
    ----------
    peak
        Bytes that a run takes at most.
    running
        Bytes that each run under way has in use; all are expected to reach ``peak``.
    free
        Bytes free now; by default the machine's, within the limits of this process.
    """
    now = free_memory() if free is None else free
    to_come = sum(max(0, peak - used) for used in running)
    return (1 - SPARE) * now >= to_come + peak


def check_memory(jobs: int, peak: int, free: int | None = None) -> None:
    """Check that ``jobs`` runs of ``peak`` bytes each fit into the memory.

    Raises
    ------
    RunError
        If they don't; the line has the number that does.
    """
    now = free_memory() if free is None else free
    most = int((1 - SPARE) * now // peak) if peak else jobs
    if jobs > most:
        raise RunError(
            f"--jobs must leave each run the {peak / 1e9:.2f} GB that it takes; {now / 1e9:.2f} GB are free, "
            f"enough for {most}; got {jobs}: give fewer, or free memory"
        )
