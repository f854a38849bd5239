"""How commands print and write networks' answers: one file and table line per kind of targets."""

from __future__ import annotations

from pipeline.targets import TargetKind
from tools.answers.classes import ClassAnswers
from tools.answers.labels import LabelAnswers
from tools.answers.protocol import Answers
from tools.answers.values import ValueAnswers

ANSWERS: dict[TargetKind, type[Answers]] = {
    "class": ClassAnswers,
    "multi_label": LabelAnswers,
    "value": ValueAnswers,
}
"""By the kind of the targets that a network was trained on."""

__all__ = ["ANSWERS", "Answers"]
