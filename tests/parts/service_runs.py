"""Runs through the service of samplers, and what a process leaves behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import numpy as np

from samplers import Feedback, Order
from samplers.service import Service
from samplers.service.process import ProcessWorker
from samplers.service.service import Mode

MODES: tuple[Mode, ...] = get_args(Mode)


def take_step(sampler: Any, order: Order, at: int, step: int) -> None:
    ids = order.ids[at : at + 8]
    noise = np.random.default_rng([order.round, at]).random(len(ids)).astype(np.float32)
    p_true = (0.05 + 0.9 * noise).astype(np.float32)
    trained, progress = np.ones(len(ids), bool), min(1.0, step / 30)
    sampler.observe(Feedback(step, ids, -np.log(p_true), p_true, trained, progress=progress))


def run(sampler: Any, save_at: Any = None) -> Any:
    """Train to the end; with ``save_at`` give the state after that many steps and stop."""
    orders, step = [], 0
    for _ in range(sampler.rounds):
        orders.append(sampler.next_order())
        for at in range(0, len(orders[-1].ids), 8):
            step += 1
            take_step(sampler, orders[-1], at, step)
            if step == save_at:
                return sampler.state_dict(), orders, at
        if orders[-1].score_ids is not None:
            ids = orders[-1].score_ids
            p_true = np.full(len(ids), 0.75, np.float32)
            sampler.observe(Feedback(step, ids, -np.log(p_true), p_true, np.zeros(len(ids), bool)))
    return orders


def shared_files() -> set[str]:
    # Of this process: other tests run beside this one.
    mine = f"samplers-{os.getpid()}-*"
    return {file.name for folder in ("/dev/shm", "/tmp") for file in Path(folder).glob(mine)}


def worker_of(service: Service) -> ProcessWorker:
    """Return the parent's side of the process in which a service's sampler runs."""
    worker = service._worker
    assert isinstance(worker, ProcessWorker)
    return worker


def pid_of(service: Service) -> int:
    """Return the id of that process."""
    return worker_of(service)._process.pid
