"""How fast each training sample is forgotten: the rise of its loss from one scoring to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ops.memory import place


class ForgettingMemory:
    """A moving average of loss increases, for every training sample, on the device.

    Kocyigit (2023, section 4.5) proposes such a memory and defines none. The increase is from look to look,
    not from step to step: at equal distances between looks, as under uniform orders, it is a speed. A
    sample's first look has nothing to compare with and leaves its average at 0. Under data parallelism each
    rank remembers what it has looked at itself.

    Parameters
    ----------
    samples
        N; two float32 each are kept.
    pace
        Weight in (0, 1] of the newest increase.
    """

    def __init__(self, samples: int, pace: float, device: torch.device) -> None:
        self._pace = pace
        self._last = torch.full((samples,), torch.nan, device=device)
        self._rise = torch.zeros(samples, device=device)

    def update(self, ids: NDArray[np.int64], losses: Tensor) -> Tensor:
        """Update with newly scored losses.

        Parameters
        ----------
        ids
            int64[n] on the host. Of an id that occurs more than once, the last loss is kept.
        losses
            float32[n] on the device.

        Returns
        -------
        float32[n], the average increase for each, this scoring included.
        """
        losses = losses.to(self._last.dtype)
        rows = place(ids, self._last.device)
        last, before = self._last[rows], self._rise[rows]
        now = torch.lerp(before, (losses - last).clamp(min=0), self._pace)
        now = torch.where(torch.isnan(last), before, now)
        # Writing one row twice has no defined order on a GPU; the host knows which rows occur twice.
        _, from_end = np.unique(ids[::-1], return_index=True)
        kept = place(len(ids) - 1 - from_end, self._last.device)
        written = rows[kept]
        self._last[written] = losses[kept]
        self._rise[written] = now[kept]
        return now

    def state_dict(self) -> dict[str, Any]:
        """Return last losses and average increases, float32[N] each."""
        return {"last": self._last.clone(), "rise": self._rise.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore saved ones."""
        self._last.copy_(state["last"])
        self._rise.copy_(state["rise"])
