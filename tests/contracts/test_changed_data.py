"""Every engine on data sets that other processes alter while they are open: one line, or what was opened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import run_program

from pipeline.bus_error import EXIT_STATUS
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines import ENGINES
from pipeline.engines.protocol import holds_images
from pipeline.errors import ChangedDataError
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource

CPU = torch.device("cpu")
IDS = np.arange(24)
HOLDING = [name for name in ENGINES if holds_images(ENGINES[name])]
READS_FILES = [name for name in ENGINES if name not in HOLDING]

every_engine = pytest.mark.parametrize("engine", ENGINES)
file_engine = pytest.mark.parametrize("engine", READS_FILES)
every_format = pytest.mark.parametrize("ending", ["beton", "wds"])


def make(path: Path, seed: int = 0, levels: tuple[int, ...] = ()) -> Path:
    images = np.random.default_rng(seed).integers(0, 256, (len(IDS), 48, 48, 3), dtype=np.uint8)
    source = ArraySource("noise", "train", "seeded noise", ("a", "b"), IDS % 2, images)
    convert(source, path, ConvertOptions(encoding="jpeg", levels=levels))
    return path


def file_of(path: Path) -> Path:
    return path if path.is_file() else min(path.glob("*.tar"))


def truncate(file: Path, other: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def grow(file: Path, other: Path) -> None:
    with file.open("ab") as end:
        end.write(b"more")


def write_into(file: Path, other: Path) -> None:
    """Another set's bytes in the same file, as by cp, at another time."""
    moment = file.stat().st_mtime_ns
    content = other.read_bytes().ljust(file.stat().st_size, b"\0")[: file.stat().st_size]
    with file.open("r+b") as inside:
        inside.write(content)
    os.utime(file, ns=(moment, moment + 5_000_000_000))


def replace(file: Path, other: Path) -> None:
    """Another file by the same name, as by mv."""
    shutil.copy(other, other.with_name("copy"))
    other.with_name("copy").replace(file)


CHANGES: dict[str, Callable[[Path, Path], None]] = {
    "truncated": truncate,
    "grew": grow,
    "written to": write_into,
    "replaced": replace,
}


@every_format
@file_engine
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_named(change: str, engine: str, ending: str, tmp_path: Path) -> None:
    path, other = make(tmp_path / f"x.{ending}"), make(tmp_path / f"other.{ending}", seed=1)
    reader = ENGINES[engine]().open(open_dataset(path), CPU)
    reader.read(IDS)
    CHANGES[change](file_of(path), file_of(other))
    with pytest.raises(ChangedDataError, match=change) as told:
        reader.read(IDS)
    reader.close()
    assert str(file_of(path)) in str(told.value)
    assert "\n" not in str(told.value)


@every_engine
def test_a_file_without_a_name_is_read_to_the_end(engine: str, tmp_path: Path) -> None:
    path = make(tmp_path / "x.beton")
    reader = ENGINES[engine]().open(open_dataset(path), CPU)
    before = reader.read(IDS)
    path.unlink()
    assert torch.equal(reader.read(IDS), before)
    reader.close()


@every_format
@pytest.mark.parametrize("engine", HOLDING)
def test_what_an_engine_holds_is_not_looked_for_in_the_file(engine: str, ending: str, tmp_path: Path) -> None:
    path, other = make(tmp_path / f"x.{ending}"), make(tmp_path / f"other.{ending}", seed=1)
    reader = ENGINES[engine]().open(open_dataset(path), CPU)
    before = reader.read(IDS)
    replace(file_of(path), file_of(other))
    assert torch.equal(reader.read(IDS), before)
    reader.close()


@every_format
@every_engine
def test_a_set_that_changed_before_an_engine_opens_it(engine: str, ending: str, tmp_path: Path) -> None:
    path, other = make(tmp_path / f"x.{ending}"), make(tmp_path / f"other.{ending}", seed=1)
    data = open_dataset(path)
    write_into(file_of(path), file_of(other))
    with pytest.raises(ChangedDataError, match="written to"):
        ENGINES[engine]().open(data, CPU).read(IDS)


@every_format
def test_a_level_is_of_the_same_file(ending: str, tmp_path: Path) -> None:
    path = make(tmp_path / f"x.{ending}", levels=(24,))
    other = make(tmp_path / "other" / f"x.{ending}", seed=1, levels=(24,))
    data = open_dataset(path)
    assert len(data.at(24)) == len(IDS)
    path.rename(tmp_path / f"before.{ending}")
    other.rename(path)
    with pytest.raises(ChangedDataError, match="replaced"):
        data.at(24)


def test_folders_of_many_shards_are_looked_at_in_turn(tmp_path: Path) -> None:
    data = open_dataset(make(tmp_path / "x.beton"))
    data.files = data.files * 100  # type: ignore[attr-defined]
    data.check_unchanged()
    truncate(tmp_path / "x.beton", tmp_path)
    with pytest.raises(ChangedDataError):
        data.check_unchanged()


PROGRAM = """
import os, sys, threading
from pathlib import Path
import numpy as np, torch
from pipeline.engines import ENGINES
from pipeline.engines.protocol import holds_images
from pipeline.formats import open_dataset

data = open_dataset(Path(sys.argv[2]))
reader = ENGINES[sys.argv[1]]().open(data, torch.device("cpu"))
reader.read(np.arange(4))
data.check_unchanged = lambda: None  # as where a file is truncated between the look and the reading
os.truncate(sys.argv[3], 4096)
thread = threading.Thread(target=reader.read, args=[np.arange(24)])
thread.start()
thread.join()
"""


@pytest.mark.parametrize(("engine", "ending"), [("ffcv", "beton"), ("dali", "wds")])
def test_a_bus_error_in_a_thread_is_one_line_and_a_status(engine: str, ending: str, tmp_path: Path) -> None:
    path = make(tmp_path / f"x.{ending}")
    file = file_of(path)
    done = run_program(PROGRAM, [engine, str(path), str(file)])
    assert done.returncode == EXIT_STATUS
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(file) in line
    assert "truncated" in line
