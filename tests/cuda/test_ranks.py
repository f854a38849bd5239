"""Several ranks: over gloo on the CPU, and over NCCL where there are two GPUs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from two_ranks import run_two_ranks

PROGRAM = """
import sys
import warnings
import numpy as np
import torch
from trainer.hardware.device import choose_device
from trainer.parallel import join, leave
warnings.simplefilter("error")
name, out = sys.argv[1:]
world = join(name)
device = choose_device(name, world)
assert device.index == (world.rank if name == "cuda" else None)
steps = [2, 1]
flags = np.array([True, False, world.rank == 1])
ids = 10 * world.rank + np.arange(3)
losses = np.array([.5, 1.5, world.rank], np.float32)
gathered = world.interleave([flags, ids, losses], [steps] * 3)
world.barrier()
assert world.any(world.rank == 1)
assert world.sum(torch.ones(3, device=device)).tolist() == [2, 2, 2]
linear = torch.nn.Linear(4, 3).to(device)
with torch.no_grad():
    linear.weight.fill_(1.0)
wrapped = world.wrap(linear, device)
for step in range(3):
    linear.zero_grad(set_to_none=True)
    wrapped(torch.full((2, 4), 1.0 + world.rank, device=device)).sum().backward()
np.savez(f"{out}/{world.rank}.npz", *gathered, linear.weight.grad.cpu().numpy())
leave()
"""

NAMES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
        ],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ranks_gather_reduce_and_wait_without_a_warning(name: str, tmp_path: Path) -> None:
    run_two_ranks(PROGRAM, name, str(tmp_path))
    for rank in range(2):
        flags, ids, losses, gradient = np.load(tmp_path / f"{rank}.npz").values()
        assert ids.tolist() == [0, 1, 10, 11, 2, 12]
        assert flags.tolist() == [True, False, True, False, False, True]
        assert losses.tolist() == [0.5, 1.5, 0.5, 1.5, 0.0, 1.0]
        # The mean over ranks of two images of 1 and two of 2.
        assert (gradient == 3.0).all()
