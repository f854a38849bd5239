"""Parser of small .npy files in memory: the targets of a WebDataset's samples."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_npy(content: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a .npy file.

    Raises
    ------
    ValueError
        When they are none, are damaged, or hold Python objects.
    MemoryError
        When there is no room for what they hold.
    """
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
    except MemoryError:
        # A damaged header states more than the file holds, or is nested too deep. Where there is no room for
        # what the file does hold, this raises once more.
        np.empty(len(content), np.uint8)
        raise ValueError("a .npy file must hold what its header states; it is damaged") from None
    except Exception as error:  # Damaged headers make NumPy raise arbitrary exceptions.
        raise ValueError(f"a .npy file must be one that NumPy can read; got {error}") from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise ValueError("a .npy file must hold one array; this is an archive of several")
    return found
