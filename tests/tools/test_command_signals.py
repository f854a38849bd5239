"""Signals to commands other than `trainer run`: a line that names the signal, and a status."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from forked import run_program

STOPPING = """
import os, threading
import numpy as np

class Photos:
    def __len__(self):
        return 300

    def __getitem__(self, index):
        if index == 100:
            os.kill(os.getpid(), {number})
            threading.Event().wait(0.1 if threading.current_thread() is threading.main_thread() else 600)
        return np.full((20, 30, 3), index % 256, np.uint8), index % 2

photos = Photos()
"""
PROGRAM = """
import sys
from tools.cli import main

sys.path.insert(0, sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_stopped_conversion_names_the_signal(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "stopping.py").write_text(STOPPING.format(number=int(number)))
    out = tmp_path / "x.beton"
    ended = run_program(PROGRAM, [str(tmp_path), "convert", "stopping:photos", str(out), "--workers", "1"])
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.splitlines()[-1:] == [
        f"trainer convert: stopped by {number.name}; give the same command again"
    ]
    assert not out.exists()
