"""The fixed piece of work that tells how fast the machine itself is."""

from __future__ import annotations

import pytest
import torch

from tools.profiling.reference import Reference


def test_the_work_is_measured_against_the_cores_that_did_it() -> None:
    work = Reference(torch.device("cpu"))
    try:
        assert work.slowdown([]) == 1.0
        for _ in range(5):
            work.call()
        assert len(work.waits) == 5
        # No core can do it in less than the time that it worked on it, but for the clocks' steps.
        assert min(work.waits) > 0.5
        work.waits[:] = [1.005, 1.02, 3.0]
        assert work.slowdown([2.0, 2.1, 2.02]) == pytest.approx(1.01)
        assert work.slowdown([1.0, 2.0, 3.0]) == pytest.approx(2.0)
        work.waits[:] = [2.5, 2.4, 2.6]
        assert work.slowdown([2.0, 2.1, 2.02]) == pytest.approx(2.4)
        work.waits[:] = [1.6, 1.0, 1.02, 1.7, 1.8]
        assert work.slowdown([]) == pytest.approx(1.02)
    finally:
        work.close()
