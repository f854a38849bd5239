"""Slots: the variable places of a run, and the parts for each.

Every other list of slots or parts derives from here: the options of ``trainer run`` and their help, ``trainer
list``, recipes, reports, the READMEs' tables and the contract suites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.augment import AUGMENTS
from pipeline.engines import ENGINES
from pipeline.formats import FORMATS
from pipeline.resolution import RESOLUTIONS
from pipeline.sources import SOURCES
from samplers import SAMPLERS
from trainer import metrics
from trainer.errors import RunError
from trainer.evaluators import EVALUATORS
from trainer.methods import METHODS
from trainer.models import MODELS
from trainer.optimizers import OPTIMIZERS
from trainer.schedules import SCHEDULES
from trainer.selection import SELECTIONS
from trainer.settings import augmentations
from trainer.sinks import SINKS, check_sinks


def _any(parts: Sequence[Any]) -> None:
    """No-op."""


def _as_named(parts: Sequence[Any], before: Sequence[Any], data: str) -> Sequence[Any]:
    return parts


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place in a run that is filled by one of several parts.

    Attributes
    ----------
    name
        The setting of a run, the key in recipes, and the option of ``trainer run``.
    table
        The parts by name; each is a frozen dataclass whose fields are its options.
    help
        The first words of its option's help.
    default
        Name of the default part; None for slots that aren't settings of runs.
    many
        Whether a run takes a sequence of parts.
    check
        Refuses a sequence of parts that makes no sense together, as a RunError.
    complete
        Returns a run's sequence, from the parts named on a command line, the recipe's, and its data.
    earlier
        Name of the part by which versions without this slot trained; None if all had it.
    unnamed
        Labels in reports for parts whose names are too vague beside those of other settings.

    Raises
    ------
    RunError
        When the default is not in the table, or a part is in it under two names.
    """

    name: str
    table: Mapping[str, type]
    help: str
    default: str | None = None
    many: bool = False
    check: Callable[[Sequence[Any]], object] = _any
    complete: Callable[[Sequence[Any], Sequence[Any], str], Sequence[Any]] = _as_named
    earlier: str | None = None
    unnamed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in filter(None, (self.default, self.earlier, *self.unnamed)):
            self.part_type(name)
        first: dict[type, str] = {}
        for name, part in self.table.items():
            if first.setdefault(part, name) != name:
                raise RunError(
                    f"{self.name}: a part must stand under one name; got {part.__name__} as {first[part]} "
                    f"and {name}"
                )

    @property
    def plural(self) -> str:
        """The slot's name for ``trainer list``."""
        return self.name if self.name.endswith("s") else f"{self.name}s"

    @property
    def of_run(self) -> bool:
        """Whether runs have a setting for it."""
        return self.default is not None

    def prefix(self, part: str) -> str:
        """Return the prefix of ``part``'s options on the command line, '' for slots that aren't settings."""
        if not self.of_run:
            return ""
        return f"--{self.name}.{part}." if self.many else f"--{self.name}."

    def make(self) -> Any:
        """Return the default part, with the default options."""
        assert self.default is not None
        return self.table[self.default]()

    def part_type(self, name: str) -> type:
        """Return the class of part ``name``.

        Raises
        ------
        RunError
            When the table has no such name; the line lists those that it has.
        """
        if name not in self.table:
            raise RunError(f"{self.name} must be one of {', '.join(self.table)}; got {name!r}")
        return self.table[name]

    def part_name(self, part: object) -> str:
        """Return the name of ``part`` in the table."""
        return next(name for name, cls in self.table.items() if cls is type(part))

    def shown(self, run: object) -> str:
        """Return the names of this slot's parts in ``run``; of parts outside of the table, their classes'."""
        value = getattr(run, self.name)
        names = {cls: name for name, cls in self.table.items()}
        return " + ".join(
            names.get(type(part), type(part).__name__) for part in (value if self.many else (value,))
        )

    def named(self, run: object, between: str = " + ") -> str:
        """Return the name of this slot's part in ``run``; names of a sequence are joined by ``between``."""
        value = getattr(run, self.name)
        parts = value if self.many else (value,)
        return between.join(self.part_name(part) for part in parts)


_ALL = (
    Slot(name="model", table=MODELS, help="Network to train", default="resnet18"),
    Slot(name="sampler", table=SAMPLERS, help="Which samples to load", default="uniform"),
    Slot(
        name="selection",
        table=SELECTIONS,
        help="Which of the loaded samples to train on",
        default="all",
        earlier="all",
        unnamed={"all": "no selection"},
    ),
    Slot(
        name="augment",
        table=AUGMENTS,
        help="Augmentations on the device, in this order; the standard one is added to those without a crop",
        default="standard",
        many=True,
        check=augmentations.check,
        complete=augmentations.of_command,
    ),
    Slot(
        name="resolution",
        table=RESOLUTIONS,
        help="Resolution and strength of the augmentation over the budget",
        default="constant",
        earlier="constant",
        unnamed={"constant": "constant resolution"},
    ),
    Slot(name="schedule", table=SCHEDULES, help="Learning rate over the budget", default="linear"),
    Slot(
        name="optimizer",
        table=OPTIMIZERS,
        help="How gradients change the weights",
        default="sgd",
        earlier="sgd",
    ),
    Slot(name="method", table=METHODS, help="Learning method", default="supervised"),
    Slot(
        name="evaluator",
        table=EVALUATORS,
        help="Measurements on the test set; the first one has the metric by which reports compare runs",
        default="classification",
        many=True,
        check=metrics.metrics_of,
        earlier="classification",
    ),
    Slot(
        name="sinks",
        table=SINKS,
        help="Where figures go during training, beside the JSON lines that every run writes",
        default="jsonl",
        many=True,
        check=check_sinks,
        earlier="jsonl",
    ),
    Slot(name="engine", table=ENGINES, help="How images are read", default="resident"),
    Slot(name="source", table=SOURCES, help="Where images to convert come from"),
    Slot(name="format", table=FORMATS, help="How a data set is stored"),
)

SLOTS: Mapping[str, Slot] = {slot.name: slot for slot in _ALL}
"""Every slot by name, in the order in which reports name their parts."""

RUN_SLOTS: Mapping[str, Slot] = {name: slot for name, slot in SLOTS.items() if slot.of_run}
"""The slots that are settings of runs."""
