"""A plain loop on two ranks, under DistributedDataParallel, trains as one process does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plain_loops import Loop
from two_ranks import run_two_ranks

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
import torch.distributed as dist
from plain_loops import Points
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler
from trainer import BudgetedLoader

torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(1)
model = nn.Linear(4, 3, dtype=torch.float64)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
wrapped = nn.parallel.DistributedDataParallel(model)
data = Points()
plain = DataLoader(data, batch_size=4, sampler=DistributedSampler(data))
loader = BudgetedLoader(plain, "kakurenbo", epochs=20, budget=0.5, optimizer=optimizer)
criterion = loader.criterion(nn.CrossEntropyLoss())
seen = []
for epoch in range(loader.rounds):
    for values, labels, ids in loader:
        loss = criterion(wrapped(values), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(ids)
    for values, labels, ids in loader.requested():
        with torch.no_grad():
            criterion(model(values), labels)
    state = loader.state_dict()
out = Path(sys.argv[1]) / f"{dist.get_rank()}.pt"
torch.save({"model": model.state_dict(), "seen": torch.stack(seen)}, out)
dist.destroy_process_group()
"""


@pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")
def test_two_ranks_train_as_one(tmp_path: Path) -> None:
    run_two_ranks(PROGRAM, str(tmp_path), str(Path(__file__).parents[2] / "parts"))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    loop = Loop("kakurenbo", epochs=20)
    for _ in range(loop.loader.rounds):
        list(loop.steps())
        list(loop.scores())
    seen = torch.cat([first["seen"], second["seen"]], dim=1)
    np.testing.assert_array_equal(seen, np.array(loop.seen))
    for name, value in loop.model.state_dict().items():
        torch.testing.assert_close(first["model"][name], value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(second["model"][name], first["model"][name], rtol=0, atol=0)
