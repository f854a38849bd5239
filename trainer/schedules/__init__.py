"""Schedules of learning rate and momentum as functions of progress, so a run at any budget completes them.

Progress goes from 0 at the first optimizer step to 1 at the last one of *this* budget, so the final rate is
reached exactly when the budget is spent. A schedule returns a factor of the base rate: the papers' epsilon_t
is base rate x factor, with epsilon_max the base rate.
"""

from trainer.schedules.base import ProportionalSchedule, Schedule, ScheduleConfig
from trainer.schedules.cycles import FixedOneCycle, OneCycle
from trainer.schedules.decays import (
    Constant,
    Cosine,
    Linear,
    RangeTest,
    Rex,
    Step,
    WarmupCosine,
    WarmupLinear,
)

SCHEDULES: dict[str, type[ScheduleConfig]] = {
    "step": Step,
    "linear": Linear,
    "cosine": Cosine,
    "warmup_cosine": WarmupCosine,
    "warmup_linear": WarmupLinear,
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
    "ScheduleConfig",
    "Step",
    "WarmupCosine",
    "WarmupLinear",
]
