"""Table of the scores that are measured in the course of training, by their metrics' names."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.scores.aum import AreaUnderMargin
from trainer.scores.dual import DifficultyUncertainty
from trainer.scores.forgetting import Forgetting
from trainer.scores.tdds import TemporalDualDepth
from trainer.scores.trajectories import Trajectory

TRAJECTORIES: Mapping[str, type[Trajectory]] = {
    "forgetting": Forgetting,
    "aum": AreaUnderMargin,
    "dual": DifficultyUncertainty,
    "tdds": TemporalDualDepth,
}
