"""A rehearsal of everything that compiles or allocates on first use, before the clock starts."""

from __future__ import annotations

import time

import numpy as np
import torch

from pipeline.loader import LoaderTimes
from samplers import Feedback, Order
from trainer.forward import forward
from trainer.session import Session


def warm_up(session: Session) -> None:
    """Make one step and one order on the side, and leave no trace but the time that it took.

    Compilation (of the model, where asked for, and of numba's kernels), kernel selection and memory pools
    belong to the machine, not to the budget: they are timed apart, as the ledger's ``compile_seconds``.
    """
    before = time.perf_counter()
    rng = torch.get_rng_state()
    weights = {name: value.clone() for name, value in session.model.state_dict().items()}
    _rehearse_step(session)
    session.step.optimizer.zero_grad(set_to_none=True)
    session.model.load_state_dict(weights)
    torch.set_rng_state(rng)
    _rehearse_order(session)
    session.loader.times = LoaderTimes()
    if session.device.type == "cuda":
        torch.cuda.synchronize(session.device)
    session.ledger.compile_seconds += time.perf_counter() - before


def _rehearse_step(session: Session) -> None:
    """Load, augment, and go forward and backward; the optimiser makes no step, so it holds no momentum."""
    first = Order(round=0, ids=np.arange(session.run.batch_size, dtype=np.int64))
    for raw in session.loader.batches(first):
        batch = session.chain.apply(raw)
        outputs = forward(session.step.model, batch.images, session.bf16)
        losses = session.step.method.losses(outputs, batch.labels)
        losses.per_owner.mean().backward()  # type: ignore[no-untyped-call]


def _rehearse_order(session: Session) -> None:
    """Let a sampler like the run's own hear something and draw by it."""
    twin = session.run.sampler.build(session.plan)
    ids = np.arange(session.run.batch_size, dtype=np.int64)
    loss = np.linspace(0.1, 2, len(ids), dtype=np.float32)
    for _ in range(min(2, twin.rounds)):
        twin.observe(Feedback(0, ids, loss, np.exp(-loss), np.ones(len(ids), np.bool_), error=loss))
        twin.next_order()
