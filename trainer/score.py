"""Scoring: what the model thinks of samples now, without training on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samplers import Order
from trainer.forward import predict
from trainer.session import Session


def score(session: Session, ids: NDArray[np.int64]) -> None:
    """Make a forward pass over samples, and keep what it says as feedback that was not trained.

    Parameters
    ----------
    ids
        int64[n]; filled up to a multiple of the ranks by scoring the first ones again.
    """
    if len(ids) == 0:
        return
    ids = np.concatenate((ids, np.resize(ids, -len(ids) % session.world.size)))
    order = Order(round=0, ids=ids)
    waited = session.loader.times.wait
    with session.ledger.phase("score"):
        scored = predict(session.model, session.loader, session.view, order, bf16=session.bf16)
        for batch, outputs in scored:
            losses = session.step.method.losses(outputs, batch.labels)
            session.feedback.add(batch, losses, trained=False)
    # Waiting for images has a phase of its own.
    session.ledger.add("score", waited - session.loader.times.wait)
    session.ledger.count_scored(len(ids), session.full)
