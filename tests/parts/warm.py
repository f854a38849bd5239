"""Late imports and kernels of most runs, made as this is imported: by the server whose forks run commands.

Nothing is trained: a backward pass starts threads where there is a CUDA device, and forks have none of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch._dynamo  # noqa: F401  (imported by the first optimizer)
from sampler_runs import run, small_plan

from pipeline import AUGMENTS
from pipeline.bus_error import guard
from pipeline.randomness import Keys, occurrences
from samplers import SAMPLERS, Feedback
from samplers.families.rounds import RoundSampler
from trainer.sample_table import SampleRecord

IDS = np.arange(8)

guard(np.zeros(8, np.uint8), Path("nothing"))
AUGMENTS["standard"]().draw(Keys(0, 0, 0, IDS, occurrences(IDS)), 8, 8)
for name in ("uniform", "p_sgd"):
    sampler = SAMPLERS[name]().build(small_plan())
    assert isinstance(sampler, RoundSampler)
    run(sampler, rounds=2)
ONES = np.ones(8, np.float32)
SampleRecord.empty(8).observe(Feedback(1, IDS, ONES, ONES, ONES > 0))
