"""greedy: the top of the losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.selection import Candidates, Setting
from trainer.selection.greedy import Greedy


def test_greedy_takes_the_highest_losses(
    setting: Callable[..., Setting], pool: Callable[..., Candidates]
) -> None:
    losses = np.random.default_rng(1).random(40)
    indices = Greedy().build(setting(20)).choose(pool(losses)).indices.tolist()
    assert indices == np.argsort(-losses, kind="stable")[:20].tolist()
