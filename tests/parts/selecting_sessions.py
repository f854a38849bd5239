"""Sessions that select, and all that they give to train on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.config import Run
from trainer.selection import SELECTIONS
from trainer.session import Session

Recipe = Callable[..., Run]
NAMES = sorted(set(SELECTIONS) - {"all", "rho_loss", "hard_augment"})
ALWAYS = {"start": 0.0, "end": 1.0, "interrupt": 0}


def raw_batches_of(session: Session) -> Any:
    assert session.order is not None
    selector = session.selector
    return session.loader.raw_batches(
        session.order, augment=selector.augmentation, stage=selector.stage(session.stage)
    )
