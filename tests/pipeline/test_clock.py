"""The clock of work stands still while the process does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pipeline.clock

WORKS = """
import runpy, sys, time
clock = runpy.run_path(sys.argv[1])["CLOCK"]
with clock.watching():
    begin, began = clock.now(), time.perf_counter()
    print("on", flush=True)
    sys.stdin.readline()
    print(clock.now() - begin, time.perf_counter() - began)
"""


def test_a_stop_does_not_count() -> None:
    words = [sys.executable, "-c", WORKS, str(Path(pipeline.clock.__file__))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as works:
        assert works.stdin is not None
        assert works.stdout is not None
        assert works.stdout.readline() == "on\n"
        works.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        works.send_signal(signal.SIGCONT)
        works.stdin.write("\n")
        works.stdin.close()
        worked, elapsed = map(float, works.stdout.readline().split())
    assert elapsed >= 2.5
    assert elapsed - worked >= 2.0
