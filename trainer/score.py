"""Scoring: what the model thinks of samples now, without training on them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from samplers import Order
from trainer.session import Session


@torch.no_grad()
def score(session: Session, ids: NDArray[np.int64]) -> None:
    """Make a forward pass over samples as they are, and keep what it says as feedback that was not trained.

    In evaluation mode, so that batch-normalisation statistics are not touched, and on images without
    augmentation.

    Parameters
    ----------
    ids
        int64[n]; filled up to a multiple of the ranks by scoring the first ones again.
    """
    if len(ids) == 0:
        return
    ranks = session.world.size
    ids = np.concatenate((ids, np.resize(ids, -len(ids) % ranks)))
    session.model.eval()
    try:
        for raw in session.loader.batches(Order(round=0, ids=ids), plain=True):
            with session.ledger.phase("score"):
                batch = session.plain_chain.apply(raw)
                with torch.autocast(session.device.type, dtype=torch.bfloat16, enabled=session.bf16):
                    outputs = session.model(batch.images)
                losses = session.step.method.losses(outputs, batch.labels)
                session.feedback.add(batch, losses, trained=False)
    finally:
        session.model.train()
    session.ledger.scored += len(ids)
