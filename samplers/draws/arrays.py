"""Names for the array types that signatures repeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
"""Samples by their number, as orders and feedback hold them."""
Places = NDArray[np.int32]
"""Samples by their number inside a draw: half the memory traffic, and enough for 2^31 - 1 of them."""
Buckets = NDArray[np.uint32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Weights = NDArray[np.float32] | NDArray[np.float64]
Counts = NDArray[np.int64]
