"""Type aliases of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
"""Sample ids, as in orders and feedback."""
Places = NDArray[np.int32]
"""Sample indices inside a draw: half the memory traffic of int64, and enough for 2^31 - 1 samples."""
Buckets = NDArray[np.uint32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Weights = NDArray[np.float32] | NDArray[np.float64]
Counts = NDArray[np.int64]
