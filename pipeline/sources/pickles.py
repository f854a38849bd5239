"""The pickled batches of CIFAR-10 and CIFAR-100, in a folder or in the published tar."""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_batches(path: Path, folder: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Read pickled dictionaries: ``path/<name>``, or ``<folder>/<name>`` within the tar ``path``.

    Raises
    ------
    ValueError
        When one is no dictionary.
    KeyError
        When the tar lacks one.
    OSError, EOFError, pickle.UnpicklingError, tarfile.TarError
        When one can't be read, or would make anything but arrays and plain values.
    """
    if path.is_dir():
        contents = [(path / name).read_bytes() for name in names]
    else:
        wanted = {f"{folder}/{name}": b"" for name in names}
        with tarfile.open(path) as tar:
            # One pass: a gzipped tar can't be read backwards without starting over.
            for member in tar:
                file = tar.extractfile(member) if member.name in wanted else None
                if file is not None:
                    wanted[member.name] = file.read()
        contents = list(wanted.values())
    batches = [_ArraysOnly(BytesIO(content), encoding="latin1").load() for content in contents]
    if not all(isinstance(batch, dict) for batch in batches):
        raise ValueError(f"each of {', '.join(names)} must be a dictionary")
    return batches


def images_of(batches: Sequence[dict[str, Any]]) -> NDArray[np.uint8]:
    """Join the rows of 3,072 bytes (channel, row, column) of all batches: uint8[n, 32, 32, 3]."""
    rows = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes NumPy arrays and plain values, and runs no code of the file's choosing."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")


def _encode(text: str, encoding: str) -> bytes:
    # Python 3 writes bytes this way in protocol 2; only this one encoding occurs there.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes must be written as latin1; got {encoding}")
    return text.encode("latin1")
