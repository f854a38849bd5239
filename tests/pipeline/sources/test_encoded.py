"""Whose fault it is that an image can't be read: its own, or the machine's."""

from __future__ import annotations

import errno
import os

import pytest

from pipeline.errors import CorruptSampleError, DataError, MachineError
from pipeline.sources.encoded import decoding


def fault(error: BaseException) -> DataError:
    with pytest.raises(DataError) as caught, decoding("a/1.png"):
        raise error
    return caught.value


MACHINES = (
    "EMFILE",
    "ENFILE",
    "ENOMEM",
    "EIO",
    "ESTALE",
    "ENOSPC",
    "EDQUOT",
    "ENOTCONN",
    "EHOSTDOWN",
    "EAGAIN",
)


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number)) for number in (getattr(errno, name) for name in MACHINES)),
        MemoryError(),
        TimeoutError("timed out"),
        ConnectionResetError(),
        # As Pillow's decoders have it: an error without a number.
        OSError("out of memory when reading image file"),
    ],
    ids=repr,
)
def test_what_is_the_machines_fault_is_never_skipped_as_corrupt(error: Exception) -> None:
    found = fault(error)
    assert isinstance(found, MachineError)
    assert str(found).startswith("a/1.png must ")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ELOOP, errno.EISDIR, errno.ENXIO])
def test_a_file_that_is_not_there_or_closed_is_named_as_such(number: int) -> None:
    found = fault(OSError(number, os.strerror(number)))
    assert isinstance(found, CorruptSampleError)
    assert str(found).startswith(f"a/1.png must be readable; got {os.strerror(number)}: mend its")


def test_a_decoders_words_are_one_line() -> None:
    for error in (OSError("two\nlines"), ValueError("two\nlines"), SyntaxError("two lines")):
        assert "it can't be decoded (two lines): mend" in str(fault(error))
    assert "(KeyError)" in str(fault(KeyError()))
