"""Learning rate and momentum as functions of progress: a run at any budget sees the whole schedule.

Progress runs from 0 at the first optimizer step to 1 at the last one of *this* budget, so the floor is
reached exactly when the budget is spent. A schedule gives a factor of the base rate: where the papers write
epsilon_t, this is base rate x factor, epsilon_max being the base rate.
"""

from trainer.schedules.base import ProportionalSchedule, Schedule, SchedulePart
from trainer.schedules.cycles import FixedOneCycle, OneCycle
from trainer.schedules.decays import Constant, Cosine, Linear, RangeTest, Rex, Step, WarmupCosine

SCHEDULES: dict[str, type[SchedulePart]] = {
    "step": Step,
    "linear": Linear,
    "cosine": Cosine,
    "warmup_cosine": WarmupCosine,
    "one_cycle": OneCycle,
    "fixed_one_cycle": FixedOneCycle,
    "rex": Rex,
    "range_test": RangeTest,
    "constant": Constant,
}

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "FixedOneCycle",
    "Linear",
    "OneCycle",
    "ProportionalSchedule",
    "RangeTest",
    "Rex",
    "Schedule",
    "SchedulePart",
    "Step",
    "WarmupCosine",
]
