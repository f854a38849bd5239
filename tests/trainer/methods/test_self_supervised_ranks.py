"""Self-supervised methods on two gloo ranks: negatives, centers and keys are those of all ranks."""

from __future__ import annotations

from pathlib import Path

from two_ranks import run_two_ranks

RANKS = """
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
torch.set_num_threads(1)
from pipeline import Batch
from trainer.methods import ranks
from trainer.methods.dino import DINO
from trainer.methods.moco import MoCo
from trainer.methods.simclr import nt_xent
from trainer.models import MODELS
from trainer.parallel import join, leave

world = join("cpu")
generator = torch.Generator().manual_seed(0)
images = torch.randn(2, 8, 12, generator=generator, dtype=torch.float64)
part = slice(4 * world.rank, 4 * world.rank + 4)

# Gradients of the mean over ranks are those of one process with all images.
def network():
    torch.manual_seed(1)
    return nn.Linear(12, 5).double()

ours = network()
loss = nt_xent(ours(images[0, part]), ours(images[1, part]), 0.2)
loss.mean().backward()
gradient = ranks.mean(ours.weight.grad)
everywhere = torch.cat(world.gather(loss.detach()))
import torch.distributed as dist
single = dist.is_initialized
dist.is_initialized = lambda: False
whole = network()
expected = nt_xent(whole(images[0]), whole(images[1]), 0.2)
expected.mean().backward()
dist.is_initialized = single
torch.testing.assert_close(everywhere, expected.detach())
torch.testing.assert_close(gradient, whole.weight.grad)

def built(config):
    torch.manual_seed(2)
    return config.build(MODELS["resnet8"](width=4).build(classes=0))

def batch(rank):
    made = torch.Generator().manual_seed(rank)
    return Batch(np.arange(4), tuple(torch.randn(4, 3, 8, 8, generator=made) for _ in range(2)), {})

# The center is that of all images, and the same everywhere.
dino = built(DINO(hidden=8, bottleneck=4, out=6, momentum=1.0))
dino.eval()
with torch.no_grad():
    outputs = [dino.target.projector(dino.target.encoder(v)) for r in range(2) for v in batch(r).views]
expected = 0.1 * torch.cat(outputs).mean(dim=0)
dino.train()
for module in dino.modules():
    if isinstance(module, nn.BatchNorm2d):
        module.eval()
dino(batch(world.rank))
dino.after_step(0.5)
torch.testing.assert_close(dino.center, expected)

# Keys are made of images of both ranks, come back to their own, and are queued everywhere.
moco = built(MoCo(out=3, queue=32))
for module in moco.modules():
    if isinstance(module, nn.BatchNorm2d):
        module.eval()
view = batch(world.rank).views[0]
torch.testing.assert_close(moco._keys_of(view), moco._key(view), rtol=1e-4, atol=1e-5)
moco(batch(world.rank))
moco.after_step(0.5)
assert int(moco.pointer) == 16
first, second = world.gather(moco.queue)
assert torch.equal(first, second)
expected = torch.cat([moco._key(batch(r).views[v]) for v in range(2) for r in range(2)])
torch.testing.assert_close(moco.queue[:16], expected, rtol=1e-3, atol=1e-4)
leave()
"""


def test_two_ranks_share_what_they_compare_with(tmp_path: Path) -> None:
    run_two_ranks(RANKS)
