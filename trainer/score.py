"""Scoring: what the model thinks of samples now, without training on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch
from samplers import Order
from trainer.gradients import measure
from trainer.inference.predict import predict
from trainer.interrupt import Stopped
from trainer.session import Session, asked_of


def score(session: Session, ids: NDArray[np.int64], asked: Callable[[], bool] = lambda: False) -> None:
    """Score samples, and keep what their forward passes say as feedback that was not trained.

    Where the sampler asks for gradients, each is measured as well.

    Parameters
    ----------
    ids
        int64[n]; filled up to a multiple of the ranks by scoring the first ones again.
    asked
        Whether to stop, looked at after each batch; the same on every rank.

    Raises
    ------
    Stopped
        When it was asked to.
    """
    if len(ids) == 0:
        return
    ids = np.concatenate((ids, np.resize(ids, -len(ids) % session.world.size)))
    order = Order(round=0, ids=ids)
    waited = session.loader.times.wait
    gradients = asked_of(session) == "gradient"
    with session.ledger.phase("score"):
        scored = measure(session, order) if gradients else _shown(session, order)
        for batch, outputs, norms in scored:
            losses = session.step.method.losses(outputs, batch.labels)
            session.feedback.add(batch, losses, trained=False, gradient=norms)
            if asked():
                raise Stopped
    # Waiting for images has a phase of its own.
    session.ledger.add("score", waited - session.loader.times.wait)
    session.account.charge("gradient" if gradients else "scored", len(ids), session.full)


def _shown(session: Session, order: Order) -> Iterator[tuple[Batch, Tensor, None]]:
    shown = predict(session.model, session.loader, session.view, order, bf16=session.bf16)
    return ((batch, outputs, None) for batch, outputs in shown)
