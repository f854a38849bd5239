"""Arrays in the bytes of .npy files: read, or told as damaged and not as a want of memory."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.formats.npy import read_npy


def saved(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_shape(content: bytes, shape: str) -> bytes:
    """Return the file with another shape in its header, whose padding gives the room."""
    header, body = content[:128], content[128:]
    changed = header.replace(b"'shape': (4,)", b"'shape': " + shape.encode()).rstrip(b" \n")
    return changed + b" " * (127 - len(changed)) + b"\n" + body


@pytest.mark.parametrize("array", [np.arange(4), np.float32(0.5), np.zeros((2, 3), np.uint8)], ids=str)
def test_arrays_are_read(array: NDArray[Any]) -> None:
    found = read_npy(saved(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "content",
    [
        with_shape(saved(np.arange(4)), f"({10**14},)"),
        with_shape(saved(np.arange(4)), "(5,)"),
        with_shape(saved(np.arange(4)), "(" * 80),
        with_shape(saved(np.arange(4)), "'four'"),
        saved(np.arange(4))[:-1],
        saved(np.arange(4))[:40],
        saved(np.arange(4))[:3],
        b"",
        b"no array",
    ],
)
def test_damage_is_told_as_such(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"a \.npy file must"):
        read_npy(content)


def test_objects_and_archives_are_refused() -> None:
    pickled, archive = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    np.savez(archive, np.arange(3))
    for content in (pickled.getvalue(), archive.getvalue()):
        with pytest.raises(ValueError, match=r"a \.npy file must"):
            read_npy(content)
