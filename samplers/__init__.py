"""Which samples to load, in which order: every published way behind one small protocol.

``SAMPLERS`` maps a name to its part, a frozen dataclass of options; ``part.build(plan)`` makes a sampler
with the four methods of ``Sampler``.
"""

from __future__ import annotations

from typing import Protocol

from samplers.c_sgd import CSGD
from samplers.errors import SamplingError
from samplers.p_sgd import PSGD
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, Sampler, State
from samplers.rs2 import RS2
from samplers.scan import Scan
from samplers.uniform import Uniform


class SamplerPart(Protocol):
    """A sampler's options."""

    def build(self, plan: Plan) -> Sampler:
        """Make the sampler for one run."""


SAMPLERS: dict[str, type[SamplerPart]] = {
    "scan": Scan,
    "uniform": Uniform,
    "rs2": RS2,
    "p_sgd": PSGD,
    "c_sgd": CSGD,
}

__all__ = [
    "CSGD",
    "PSGD",
    "RS2",
    "SAMPLERS",
    "Feedback",
    "Order",
    "Plan",
    "Sampler",
    "SamplerPart",
    "SamplingError",
    "Scan",
    "State",
    "Uniform",
]
