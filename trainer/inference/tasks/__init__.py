"""Registry of tasks, what networks answer for each kind of targets: one file and one table line each."""

from __future__ import annotations

from dataclasses import replace

from pipeline.targets import TargetKind, TargetSpec
from trainer.errors import RunError
from trainer.inference.tasks.classification import ClassTask
from trainer.inference.tasks.multi_label import LabelTask
from trainer.inference.tasks.protocol import Matched, Report, Tally, Task, TaskFactory
from trainer.inference.tasks.regression import ValueTask

TASKS: dict[TargetKind, TaskFactory] = {
    "class": ClassTask,
    "multi_label": LabelTask,
    "value": ValueTask,
}
"""By the kind of the targets that a network was trained on."""


def task_of(spec: TargetSpec) -> Task:
    """Return the task of a network that was trained on such targets.

    Raises
    ------
    RunError
        When there is nothing that it could answer.
    """
    if spec.kind not in TASKS:
        raise RunError(
            f"a network must have been trained on targets of kind {', '.join(TASKS)} to predict them; these "
            f"are of kind {spec.kind}"
        )
    return TASKS[spec.kind](spec)


def with_threshold(task: Task, threshold: float) -> Task:
    """Return a task that decides on labels at another probability.

    Raises
    ------
    RunError
        When its network has no labels, or the threshold is no probability.
    """
    if not isinstance(task, LabelTask):
        raise RunError(
            f"threshold is for networks whose images have any number of labels; this one answers with "
            f"{task.spec.words}: leave it out"
        )
    return replace(task, threshold=threshold)


__all__ = ["TASKS", "Matched", "Report", "Tally", "Task", "task_of", "with_threshold"]
