"""The handler of bus errors, with real ones: a mapped file truncated under its reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.bus_error import EXIT_STATUS

BEGIN = """
import mmap, os, sys
from pathlib import Path
import numpy as np
from pipeline.bus_error import guard

def mapped(path, guarded=True):
    path = Path(path)
    path.write_bytes(bytes(1 << 16))
    with path.open("rb") as file:
        data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    if guarded:
        guard(data, path)
    return data
"""


def run(
    program: str, *words: Path, python: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-c", BEGIN + program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        errors="surrogateescape",
        env={**os.environ, **environment},
    )


SCENES = """
import threading
folder = sys.argv[1]
kept = [mapped(f"{folder}/{i}") for i in range(150)]
del kept[:70]
kept += [mapped(f"{folder}/more{i}") for i in range(100)]
nameless = mapped(f"{folder}/nameless", guarded=False)

def among_many():
    os.truncate(f"{folder}/more77", 0)
    kept[80 + 77].sum()

def unknown():
    os.truncate(f"{folder}/nameless", 0)
    nameless.sum()

def four_threads():
    os.truncate(f"{folder}/more1", 0)
    start = threading.Barrier(4)
    def read():
        start.wait()
        kept[81].sum()
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def odd_name():
    path = os.fsencode(folder) + b"/caf\\xe9\\nnew"
    data = mapped(os.fsdecode(path))
    os.truncate(path, 0)
    data.sum()

for scene in (among_many, unknown, four_threads, odd_name):
    child = os.fork()
    if child == 0:
        scene()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("jit", ["", "1"])
def test_each_bus_error_is_one_line_and_a_status(jit: str, tmp_path: Path) -> None:
    done = run(SCENES, tmp_path, NUMBA_DISABLE_JIT=jit or "0")
    assert done.stdout.split() == [str(EXIT_STATUS)] * 4, done.stderr
    among_many, unknown, threads, odd = done.stderr.splitlines()
    assert among_many.startswith(f"trainer: {tmp_path}/more77 can't be read any further")
    assert "that was mapped" in unknown
    assert f"{tmp_path}/more1 " in threads
    assert f"{tmp_path}/caf\\xe9\\nnew can't be read" in odd


def test_faulthandler_keeps_its_turn(tmp_path: Path) -> None:
    program = "data = mapped(sys.argv[1]); os.truncate(sys.argv[1], 0); data.sum()"
    done = run(program, tmp_path / "x", python=("-X", "faulthandler"))
    assert done.returncode == -signal.SIGBUS
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"trainer: {tmp_path / 'x'} can't be read")
    assert rest[0] == "Fatal Python error: Bus error"


def test_an_archive_that_is_read_in_place_is_guarded(tmp_path: Path) -> None:
    images = np.zeros((400, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(400) % 2)
    program = """
from pipeline.sources import open_source
source = open_source(sys.argv[1], split="train")
os.truncate(sys.argv[1], 4096)
source.read(399)
"""
    done = run(program, tmp_path / "x.npz")
    assert done.returncode == EXIT_STATUS
    assert str(tmp_path / "x.npz") in done.stderr


FORGOTTEN = """
import gc, threading
from pipeline import bus_error
folder = sys.argv[1]
kept = [mapped(f"{folder}/{i}") for i in range(64)]
class Reader:
    def __init__(self, data):
        self.data, self.itself = data, self
concatenate = np.concatenate
def collecting(arrays):
    # The garbage collector runs at any moment, that of outgrowing the table included.
    whole = concatenate(arrays)
    gc.collect()
    return whole
gc.collect()
gc.disable()
kept[3] = Reader(kept[3])
kept[3] = None
bus_error.np.concatenate = collecting
thread = threading.Thread(target=lambda: kept.append(mapped(f"{folder}/last")), daemon=True)
thread.start()
thread.join(60)
assert not thread.is_alive(), "it waits for itself"
kept.append(mapped(f"{folder}/next"))
os.truncate(f"{folder}/next", 0)
kept[-1].sum()
"""


def test_maps_forgotten_while_another_is_entered_are_forgotten(tmp_path: Path) -> None:
    done = run(FORGOTTEN, tmp_path)
    assert done.returncode == EXIT_STATUS, done.stderr
    assert f"{tmp_path}/next can't be read any further" in done.stderr
