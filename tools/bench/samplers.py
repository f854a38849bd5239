"""Benchmark of sampling: draws against NumPy and torch, feedback, and the wait at a round's start."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.machine import cores
from samplers import PSGD, Feedback, Plan, use_threads
from samplers.draws import draw
from samplers.draws.counter import make_key
from samplers.service import Service
from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.measure import Row
from tools.bench.rounds import RoundsBench

_SIZES = {"5e4": 50_000, "1e6": 1_000_000, "1e7": 10_000_000}
_REPEATS = {"5e4": 101, "1e6": 21, "1e7": 3}
_ROWS = 4096  # rows per call to observe: 32 steps of 128 samples between two copies from the device

_LARGE = """
import json, resource, time
import numpy as np
from pipeline.machine import cores
from samplers import use_threads
from samplers.draws import draw
from samplers.draws.counter import make_key

use_threads(cores())
draw.without_replacement(np.ones(100_000, np.float32), 30_000, make_key(0, "warm-up"))
weights = np.random.default_rng(0).random(int({samples}), dtype=np.float32)
with open("/proc/self/statm") as file:
    before = int(file.read().split()[1]) * resource.getpagesize()
start = time.perf_counter()
ids = draw.without_replacement(weights, len(weights) * 3 // 10, make_key(0, "bench"))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([seconds, (peak - before) / 1e6]))
"""


@dataclass(frozen=True)
class SamplersBench:
    """Weighted draws with and without replacement, feedback, and the wait at a round's start."""

    quick: bool = False
    """Skip the cases of 1e7 and 1e8 samples, and repeat less often."""

    def rows(self, clock: Clock | None = None) -> list[Row]:
        """Return one row per case and peer.

        ``draw/wr/N`` draws N of N with replacement, ``draw/wor30/N`` 30% of N without; the weights are
        uniform random float32. ``.../memory`` is the peak beyond the table of weights. ``observe/1e6`` is
        p_sgd's observe and fold of rows on a million samples, 4,096 rows per call. ``wait/MODE/1e6`` is the
        median time of ``next_order`` at the start of a round of 30% of a million samples: with a lead in a
        thread or a process; inline without a lead, where it is the drawing itself. ``run/p_sgd`` is whole
        rounds of training against uniform's, as measured by `trainer bench rounds`.
        """
        use_threads(cores())
        return list(self._rows(clock or Clock()))

    def _rows(self, clock: Clock) -> Iterator[Row]:
        # Cases with the most samples last: they take the longest, and are the least important.
        large = [] if self.quick else ["draw/1e7", "draw/wor30/1e8"]
        waits = [f"wait/{mode}/1e6" for mode in ("inline", "thread", "process")]
        for case in clock.cases(["draw/5e4", "draw/1e6", "observe/1e6", *waits, "run/p_sgd", *large]):
            kind, _, rest = case.partition("/")
            if kind == "observe":
                yield Row.compare(case, _observe(3 if self.quick else 15, clock), "rows/s")
            elif kind == "wait":
                yield Row.compare(case, _wait(rest.partition("/")[0], 2 if self.quick else 5), "ms")
            elif kind == "run":
                yield from RoundsBench(repeats=1 if self.quick else 15).measured(clock, ["p_sgd"])
            elif rest in _SIZES:
                yield from self._draws(rest, clock)
            else:
                seconds, megabytes = _large(100_000_000)
                yield Row.compare(case, seconds, "s")
                yield Row.compare(f"{case}/memory", megabytes, "MB")

    def _draws(self, name: str, clock: Clock) -> Iterator[Row]:
        samples = _SIZES[name]
        weights = np.random.default_rng(0).random(samples, dtype=np.float32)
        tensor = torch.from_numpy(weights)
        chances = weights.astype(np.float64) / weights.sum(dtype=np.float64)
        generator = np.random.default_rng(1)
        key = make_key(0, "bench")
        some = samples * 3 // 10
        repeats = 3 if self.quick else _REPEATS[name]
        cases: dict[str, dict[str, Callable[[], object]]] = {
            f"draw/wr/{name}": {
                "ours": lambda: draw.with_replacement(weights, samples, key),
                "torch": lambda: torch.multinomial(tensor, samples, replacement=True),
                "numpy": lambda: generator.choice(samples, samples, p=chances),
            },
            f"draw/wor30/{name}": {
                "ours": lambda: draw.without_replacement(weights, some, key),
                "torch": lambda: torch.multinomial(tensor, some, replacement=False),
                "numpy": lambda: generator.choice(samples, some, replace=False, p=chances),
            },
        }
        for case, works in cases.items():
            ours, *theirs = measure.interleave(list(works.values()), repeats, clock=clock)
            for peer, seconds in zip(list(works)[1:], theirs, strict=True):
                yield Row.compare(case, ours * 1e3, "ms", peer, seconds * 1e3)


def _large(samples: int) -> tuple[float, float]:
    # In a separate process: the peak of this one has other causes.
    program = _LARGE.format(samples=samples)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, megabytes = json.loads(done.stdout)
    return float(seconds), float(megabytes)


def _feedback(samples: int, rows: int, generator: np.random.Generator) -> Feedback:
    p_true = generator.random(rows, dtype=np.float32)
    ids = generator.integers(0, samples, rows)
    return Feedback(1, ids, -np.log(p_true + np.float32(1e-6)), p_true, np.ones(rows, bool))


def _observe(repeats: int, clock: Clock) -> float:
    samples = 1_000_000
    sampler = PSGD().build(Plan(samples, epochs=2, budget=0.3))
    generator = np.random.default_rng(0)
    calls = [_feedback(samples, _ROWS, generator) for _ in range(samples // _ROWS)]

    def work() -> None:
        for feedback in calls:
            sampler.observe(feedback)
        sampler.fold_buffered()

    return len(calls) * _ROWS / measure.interleave([work], repeats, warmup=2, clock=clock)[0]


def _wait(mode: str, rounds: int) -> float:
    plan = Plan(1_000_000, epochs=rounds + 2, budget=0.3, batch_size=128)
    waits = []
    lead = 0 if mode == "inline" else 1000  # inline there is nothing to overlap with
    with Service(PSGD().build(plan), plan, mode=mode, lead=lead) as service:  # type: ignore[arg-type]
        generator = np.random.default_rng(0)
        for number in range(service.rounds):
            start = time.perf_counter()
            order = service.next_order()
            waits.append(time.perf_counter() - start)
            steps = len(order.ids) // plan.batch_size
            first = number * steps
            for step in range(1, steps + 1, 32):
                rows = _feedback(plan.samples, _ROWS, generator)
                service.observe(Feedback(first + step, rows.ids, rows.loss, rows.p_true, rows.trained))
            time.sleep(1)  # in place of the lead's steps, which train on a device meanwhile
    return statistics.median(waits[2:]) * 1e3  # the first rounds compile
