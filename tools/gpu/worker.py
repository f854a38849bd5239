"""One process of the GPU check: runs sections in sequence until one fails.

    python -m tools.gpu.worker    a job as JSON on standard input; events as JSON lines to its pipe

After a failed section the process ends, and its supervisor starts another one for the rest: an illegal memory
access makes a CUDA context unusable. Only sections import torch.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.bench.clock import Clock
from tools.gpu.outcome import Outcome, Setting

LEAST_SECONDS = 3.0
"""Minimum remaining seconds to start a section."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work of one process.

    Attributes
    ----------
    sections
        Name, module and weight of each section.
    seconds
        Time limit for all of them.
    pipe
        File descriptor for events: sections begin and end.
    scratch
        Folder for the sections' scratch folders.
    device, smoke, out, data
        See `Setting`.
    """

    sections: list[tuple[str, str, float]]
    seconds: float
    pipe: int
    device: str
    smoke: bool
    out: str
    scratch: str
    data: str | None

    def run(self) -> int:
        """Run the sections; return the number of remaining ones."""
        end = time.perf_counter() + self.seconds
        with os.fdopen(self.pipe, "w", encoding="utf-8") as pipe:
            for index, (name, module, weight) in enumerate(self.sections):
                left = end - time.perf_counter()
                if left < LEAST_SECONDS:
                    return len(self.sections) - index
                fraction = left * weight / sum(other[2] for other in self.sections[index:])
                print(json.dumps({"section": name, "share": fraction}), file=pipe, flush=True)
                result = self._result(module, fraction)
                print(json.dumps({"section": name, "result": result}), file=pipe, flush=True)
                if result["status"] == "failed":
                    return len(self.sections) - index - 1
        return 0

    def _result(self, module: str, fraction: float) -> dict[str, Any]:
        """Run one section and return its result, or its exception as a result."""
        clock, scratch = Clock(fraction), Path(tempfile.mkdtemp(dir=self.scratch))
        out, data = Path(self.out), None if self.data is None else Path(self.data)
        setting = Setting(self.device, self.smoke, clock, scratch, out, data)
        begin = time.perf_counter()
        try:
            outcome: Outcome = importlib.import_module(module).check(setting)
            outcome.notes += clock.notes()
            found: dict[str, Any] = {"status": "done", **asdict(outcome)}
            json.dumps(found)  # A value that isn't JSON-serializable is an error of the section.
        except Exception as error:
            traceback.print_exc()
            found = {"status": "failed", "error": repr(error), "trace": traceback.format_exc()[-6000:]}
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return {**found, "seconds": time.perf_counter() - begin}


def main() -> int:
    """Run the job on standard input."""
    words = json.load(sys.stdin)
    Job(**words).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
