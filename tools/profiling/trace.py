"""A trace of some steps by torch.profiler, with the run's phases and the loader's batches named in it."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from pipeline.clock import CLOCK
from pipeline.formats.whole import write_whole
from pipeline.recording import Recorder
from tools.profiling.timing import wait_for
from tools.profiling.whole import training_steps
from trainer.errors import RunError
from trainer.session import Session

MOST_STEPS = 1000

MOST_BYTES = 256 << 20
"""Size beyond which a trace takes minutes to open."""

_PER_OPERATION = 900
"""Approximate bytes per operation: its own event, those of what it calls, and links between them."""

_ALIGNED = "trainer profile"
"""Name of the event by which the two clocks are aligned."""


def write(session: Session, steps: int, operations: int | None, path: Path) -> int:
    """Trace some steps of the training loop, and write them for Perfetto; return the file's bytes.

    Parameters
    ----------
    operations
        Operations of a step, as far as they are known, to estimate the size by.

    Raises
    ------
    RunError
        When the trace would exceed `MOST_BYTES`.
    """
    size = steps * (operations or 0) * _PER_OPERATION
    if size > MOST_BYTES:
        fitting = max(1, MOST_BYTES // (_PER_OPERATION * (operations or 1)))
        raise RunError(
            f"a trace must be at most {MOST_BYTES >> 20} MiB; {steps} steps of {operations:,} operations "
            f"would take {size >> 20} MiB: lower --trace-steps, to {fitting} say"
        )
    # Else it speaks on the terminal of its own beginning and end.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    recorder, device = Recorder(), session.device
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with closing(training_steps(session)) as training:
        for _ in range(3):
            next(training)
        session.ledger.settle()
        session.ledger.spans = recorder
        session.loader.record(recorder)
        try:
            with profile(activities=activities) as seen:
                aligned = CLOCK.now()
                with record_function(_ALIGNED):
                    pass
                for _ in range(steps):
                    recorder.step = session.ledger.steps + 1
                    with record_function(f"step {recorder.step}"):
                        next(training)
                session.collect()
                wait_for(device)
        finally:
            session.ledger.spans = None
            session.loader.record(None)
    path.parent.mkdir(parents=True, exist_ok=True)
    seen.export_chrome_trace(str(path))
    trace = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    trace["traceEvents"] += events(recorder, aligned, trace["traceEvents"])
    content = json.dumps(trace).encode()
    write_whole(path, content)
    return len(content)


def events(recorder: Recorder, aligned: float, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a recording's spans as events of a trace, one lane each, named by phase and number.

    Parameters
    ----------
    aligned
        The recording's clock when the event `_ALIGNED` among those ``known`` began.
    """
    start = next(float(event["ts"]) for event in known if event.get("name") == _ALIGNED)
    lanes = {"device": 1, "host": 2, "loader": 3}
    process = "training loop"
    made: list[dict[str, Any]] = [
        {
            "ph": "M",
            "name": "process_name",
            "pid": process,
            "tid": 0,
            "args": {"name": "trainer: phases and loader"},
        },
        *(
            {"ph": "M", "name": "thread_name", "pid": process, "tid": number, "args": {"name": lane}}
            for lane, number in lanes.items()
        ),
    ]
    for span in recorder.spans:
        if span.lane not in lanes:
            continue
        of = "batch" if span.lane == "loader" else "step"
        made.append(
            {
                "ph": "X",
                "cat": "trainer",
                "name": f"{span.name}, {of} {span.number}",
                "pid": process,
                "tid": lanes[span.lane],
                "ts": start + 1e6 * (span.begin - aligned),
                "dur": 1e6 * (span.end - span.begin),
                "args": {"phase": span.name, of: span.number},
            }
        )
    return made
