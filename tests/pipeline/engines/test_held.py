"""Data sets that each fit into memory and together don't."""

from __future__ import annotations

import gc
import re
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import run_program

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines import resident
from pipeline.engines.held import Held
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource

GIB = 1 << 30


def held(free: list[int], ranks: int = 1, alone: int | None = None) -> Held:
    """Return a function that reports the given free bytes, call by call."""
    amounts = iter(free)
    return Held(lambda: next(amounts), lambda: alone, lambda: ranks)


def test_two_sets_that_fit_one_by_one() -> None:
    sets = held([10 * GIB, 4 * GIB, 4 * GIB])
    assert sets.take(6 * GIB) is None
    refusal = sets.take(5 * GIB)
    assert (
        refusal
        == "5.0 GiB, beside 6.0 GiB of sets that are open already, and 10.0 GiB were free for all of it"
    )
    assert sets.take(4 * GIB) is None


def test_ranks_hold_a_copy_each() -> None:
    sets = held([10 * GIB, 10 * GIB], ranks=4)
    refusal = sets.take(3 * GIB)
    assert refusal == "3.0 GiB, in each of 4 processes, and 10.0 GiB were free for all of it"
    assert sets.take(2 * GIB) is None


def test_the_copies_of_other_ranks_are_not_counted_twice() -> None:
    """When the second set is opened, the first is in memory already, four times."""
    sets = held([10 * GIB, 2 * GIB], ranks=4)
    assert sets.take(2 * GIB) is None
    assert sets.take(GIB // 2) is None


def test_what_others_took_meanwhile_is_seen() -> None:
    sets = held([10 * GIB, 1 * GIB])
    assert sets.take(2 * GIB) is None
    assert sets.take(3 * GIB) == "3.0 GiB, beside 2.0 GiB of sets that are open already, and 1.0 GiB are free"


def test_memory_that_was_given_back_is_there_again() -> None:
    sets = held([10 * GIB] * 3)
    assert sets.take(6 * GIB) is None
    sets.release(6 * GIB)
    assert sets.take(9 * GIB) is None
    assert sets.take(2 * GIB) is not None


def test_a_limit_of_the_process_alone() -> None:
    assert held([10 * GIB], alone=GIB).take(2 * GIB) == "2.0 GiB, and ulimit -v leaves 1.0 GiB"


def make(path: Path) -> Path:
    """60 images of one color, 165 MiB decoded and some hundred KB on the disk."""
    images = np.zeros((1, 980, 980, 3), np.uint8).repeat(60, axis=0)
    source = ArraySource("flat", path.stem, "one color", ("a", "b"), np.arange(60) % 2, images)
    convert(source, path, ConvertOptions(encoding="jpeg"))
    return path


PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from pipeline.engines.resident import ResidentEngine
from pipeline.errors import DataError
from pipeline.formats import open_dataset

sets = [open_dataset(Path(sys.argv[1])) for _ in range(2)]
cpu = torch.device("cpu")
ResidentEngine(threads=1).open(sets[0], cpu).close()  # whatever is compiled or loaded on the way
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (250 << 20), used + (250 << 20)))
try:
    ResidentEngine(threads=1).open(sets[1], cpu).close()
    print("each fits")
    readers = [ResidentEngine(threads=1).open(one, cpu) for one in sets]
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_real_limit_is_told_in_one_line(tmp_path: Path) -> None:
    path = make(tmp_path / "x.beton")
    done = run_program(PROGRAM, [str(path)])
    assert done.returncode == 0, done.stderr
    fits, line = done.stdout.splitlines()
    assert fits == "each fits"
    assert str(path) in line
    assert "beside 165 MiB of sets that are open already" in line
    assert re.search(r"ulimit -v leaves \d+ MiB: use the ffcv engine", line)


def test_a_reader_gives_back_what_it_held(tmp_path: Path) -> None:
    images = np.zeros((8, 16, 16, 3), np.uint8)
    source = ArraySource("flat", "train", "one color", ("a", "b"), np.arange(8) % 2, images)
    convert(source, tmp_path / "x.beton", ConvertOptions())
    before = resident._HELD.bytes
    readers = [ResidentEngine().open(open_dataset(tmp_path / "x.beton"), torch.device("cpu")) for _ in "ab"]
    assert resident._HELD.bytes == before + 2 * images.size
    readers[0].close()
    readers[0].close()
    del readers
    assert resident._HELD.bytes == before


def test_sets_forgotten_while_another_is_opened_are_given_back() -> None:
    """The garbage collector runs at any moment, that of looking for free memory included."""

    class Reader:
        def __init__(self) -> None:
            self.itself = self

    def free() -> int:
        gc.collect()
        return 10 * GIB

    sets = Held(free, lambda: None, lambda: 1)
    reader = Reader()
    weakref.finalize(reader, sets.release, 6 * GIB)
    outcomes: list[str | None] = [sets.take(6 * GIB)]
    del reader
    thread = threading.Thread(target=lambda: outcomes.append(sets.take(4 * GIB)), daemon=True)
    thread.start()
    thread.join(60)
    assert outcomes == [None, None], "it waits for itself"
    assert sets.take(6 * GIB) is None
