"""File systems that refuse a call: no locks, no waiting for folders, no renaming of what is open."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import run_program

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError, MachineError
from pipeline.formats import card_path, open_dataset
from pipeline.formats.whole import PartialFile, write_whole
from pipeline.sources import ArraySource

ENDINGS = pytest.mark.parametrize("ending", ["beton", "wds"])
UNSUPPORTED = [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP]


def source() -> ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    return ArraySource("x", "train", "x", ("a", "b"), np.arange(6) % 2, images)


def refusing(number: int) -> Callable[..., Any]:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


@ENDINGS
@pytest.mark.parametrize("number", [*UNSUPPORTED, errno.ENOLCK, errno.EBADF], ids=errno.errorcode.get)
def test_without_locks_a_conversion_goes_on_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, number: int
) -> None:
    notes: list[str] = []
    convert(source(), tmp_path / f"a.{ending}", ConvertOptions(), note=notes.append)
    assert notes == []
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    convert(source(), tmp_path / f"b.{ending}", ConvertOptions(), note=notes.append)
    assert notes == [
        f"{tmp_path} is on a file system without locks: nothing keeps a second conversion to the same name "
        "away"
    ]
    assert open_dataset(tmp_path / f"b.{ending}").labels.tolist() == [0, 1] * 3
    assert not list(tmp_path.glob(".*"))


def test_a_lock_that_fails_otherwise_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    for ending in ("beton", "wds"):
        with pytest.raises(DataError, match=r"can't be written: Input/output error"):
            convert(source(), tmp_path / f"x.{ending}", ConvertOptions())


@ENDINGS
@pytest.mark.parametrize("number", [*UNSUPPORTED, errno.EBADF, errno.EACCES], ids=errno.errorcode.get)
def test_a_folder_that_can_not_be_waited_for_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, number: int
) -> None:
    real = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    convert(source(), tmp_path / f"x.{ending}", ConvertOptions())
    assert len(open_dataset(tmp_path / f"x.{ending}")) == 6
    write_whole(tmp_path / "y", b"content")
    assert (tmp_path / "y").read_bytes() == b"content"


@ENDINGS
def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(DataError, match="can't be written: Input/output error"):
        convert(source(), tmp_path / f"x.{ending}", ConvertOptions())


@pytest.mark.parametrize("number", UNSUPPORTED, ids=errno.errorcode.get)
def test_files_that_can_not_be_waited_for_stand_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(number))
    for ending in ("beton", "wds"):
        convert(source(), tmp_path / f"x.{ending}", ConvertOptions())
        assert len(open_dataset(tmp_path / f"x.{ending}")) == 6


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY, errno.ETXTBSY], ids=errno.errorcode.get)
def test_a_file_server_that_renames_no_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        inodes = set()
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
            try:
                inodes.add(os.fstat(int(descriptor)).st_ino)
            except OSError:
                continue
        if Path(source).is_file() and Path(source).stat().st_ino in inodes:
            raise OSError(number, os.strerror(number))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    convert(source(), tmp_path / "x.beton", ConvertOptions())
    assert len(open_dataset(tmp_path / "x.beton")) == 6
    assert card_path(tmp_path / "x.beton").exists()
    monkeypatch.setattr(os, "replace", refusing(number))
    with pytest.raises(DataError, match="can't be written"):
        write_whole(tmp_path / "y", b"content")
    assert not list(tmp_path.glob(".*"))


def test_two_writers_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "x") as one:
        assert one.locked
        with pytest.raises(DataError, match="another process is writing it"):
            PartialFile(tmp_path / "x")


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EOPNOTSUPP, errno.EACCES], ids=errno.errorcode.get)
@ENDINGS
def test_a_file_system_without_maps_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, number: int
) -> None:
    convert(source(), tmp_path / f"x.{ending}", ConvertOptions())
    monkeypatch.setattr(mmap, "mmap", refusing(number))
    with pytest.raises(
        MachineError, match=r"maps files into memory; .*: copy the set to a local disk"
    ) as told:
        open_dataset(tmp_path / f"x.{ending}")
    assert "mend its permissions" not in str(told.value)


@ENDINGS
def test_what_can_not_be_removed_hides_no_error_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    monkeypatch.setattr(os, "unlink", refusing(errno.EBUSY))
    monkeypatch.setattr(shutil, "rmtree", refusing(errno.EBUSY))
    with pytest.raises(DataError, match=r"can't be written: (Input/output error|Device or resource busy)"):
        convert(source(), tmp_path / f"x.{ending}", ConvertOptions())


def test_an_old_folder_that_is_open_elsewhere_stays_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # NFS renames what is removed while it is open, so that its folder isn't empty.
    out = tmp_path / "x.wds"
    convert(source(), out, ConvertOptions())
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refusing(errno.ENOTEMPTY))
        convert(source(), out, ConvertOptions(overwrite=True))
    assert open_dataset(out).labels.tolist() == [0, 1] * 3
    convert(source(), out, ConvertOptions(overwrite=True))
    assert not list(tmp_path.glob(".*"))


@ENDINGS
@pytest.mark.parametrize("first", [0, 1000, 3000])
def test_a_full_disk_is_told_of_the_file_that_was_written(tmp_path: Path, ending: str, first: int) -> None:
    program = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_disk import source
from pipeline.conversion.convert import ConvertOptions, convert
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
try:
    convert(source(), Path(sys.argv[1]), ConvertOptions())
except Exception as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(type(error).__name__, error)
"""
    out = tmp_path / f"x.{ending}"
    done = run_program(program, [str(out), str(first), str(Path(__file__).parent)])
    assert done.stdout.startswith(f"UnwritableError {tmp_path}/")
    assert done.stdout.endswith("can't be written: File too large\n")
