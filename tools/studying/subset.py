"""Data sets that a study makes: some samples of another set, and a validation set beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError
from pipeline.formats import open_dataset
from pipeline.sources import data_directory
from pipeline.sources.class_names import listed
from pipeline.sources.of_classes import OfClasses
from pipeline.sources.protocol import Source
from pipeline.sources.sampled import Sampled
from pipeline.sources.stored import StoredSource
from trainer import config
from trainer.data import open_data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.settings import rules

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Subset:
    """``[data.NAME]``: the set NAME, made in the data directory.

    Attributes
    ----------
    name
        Of the set.
    source
        The set that it is taken from: a name, or the path of a converted one. Its test set is taken whole.
    samples
        Training samples to take, class by class at random; with the validation set. None takes all.
    validation
        Fraction of them to hold out for choices, class by class; 0 for none.
    seed
        Of both draws.
    classes, without_classes
        Classes to keep, or to leave out, of training and test set; empty for all.
    """

    name: str
    source: str
    samples: int | None
    validation: float
    seed: int
    classes: tuple[str, ...] = ()
    without_classes: tuple[str, ...] = ()

    def make(self, run: config.Run, report: Report) -> None:
        """Make the set where it isn't there yet.

        Parameters
        ----------
        run
            Whose data directory it is made in.

        Raises
        ------
        RunError, DataError
            If the set that it is taken from isn't there, is too small, or can't be read.
        """
        folder = (run.data_dir or data_directory()) / self.name
        # The training set comes last: where it stands, the others do.
        if (folder / "train.beton").exists():
            self._check(folder / "train.beton")
            return
        data = open_data(replace(run, data=self.source, test_data=None), World(), report)
        folder.mkdir(parents=True, exist_ok=True)
        again = ConvertOptions(overwrite=True)
        test = self._of_classes(StoredSource(data.test))
        convert(test, folder / "test.beton", again, partial(report, f"{self.name}, test"))
        some = self._of_classes(StoredSource(data.train))
        if self.samples is not None:
            some = Sampled(some, self.samples, self.seed)
        options = ConvertOptions(validation=self.validation, seed=self.seed, overwrite=True)
        convert(some, folder / "train.beton", options, partial(report, f"{self.name}, train"))

    def _of_classes(self, source: Source) -> Source:
        names = self.classes or self.without_classes
        return OfClasses(source, names, without=not self.classes) if names else source

    def _check(self, path: Path) -> None:
        card = open_dataset(path).card
        held = 0.0 if card.held_out is None else card.held_out.fraction
        samples = card.samples / (1 - held) if self.samples is None else self.samples
        others = {*self.without_classes} & {*card.classes}
        if self.classes:
            others = {*self.classes} ^ {*card.classes}
        if (
            abs(card.samples - samples * (1 - self.validation)) > len(card.classes)
            or held != self.validation
            or others
        ):
            taken = "all samples" if self.samples is None else f"{self.samples:,} samples"
            raise DataError(
                f"{path} must hold what the study takes of {self.source}, {taken} of which "
                f"{self.validation:g} are held out; it holds {card.samples:,} with {held:g} held out"
                + (f", and other classes: {listed(sorted(others))}" if others else "")
                + ": move it away, or give the set another name"
            )


def read_subset(name: str, entry: Any, where: str) -> Subset:
    """Read ``[data.NAME]``.

    Raises
    ------
    RunError
        If a key is unknown or missing, or a value is out of range.
    """
    keys = ("of", "samples", "validation", "seed", "classes", "without_classes")
    if not isinstance(entry, Mapping):
        raise RunError(f"{where} must be a table; got {entry!r}")
    for key in entry:
        if key not in keys:
            raise RunError(f"{where}: key must be one of {', '.join(keys)}; got {key!r}")
    rules.check_folder_name(where, name)
    source, samples = entry.get("of"), entry.get("samples")
    validation, seed = entry.get("validation", 0.0), entry.get("seed", 0)
    if not isinstance(source, str):
        raise RunError(f'{where} must name the set that it is taken from; got {source!r}: write of = "NAME"')
    chosen = {key: _names(entry.get(key, []), f"{where}: {key}") for key in keys[-2:]}
    if all(chosen.values()):
        raise RunError(f"{where} must have classes or without_classes; got both: name those to keep")
    if samples is None and not any(chosen.values()):
        raise RunError(f"{where} must have samples, classes or without_classes; got none: add one")
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
        raise RunError(f"{where}: samples must be a whole number of at least 1; got {samples!r}")
    if isinstance(validation, bool) or not isinstance(validation, int | float) or not 0 <= validation < 1:
        raise RunError(f"{where}: validation must be at least 0 and below 1, a fraction; got {validation!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise RunError(f"{where}: seed must be at least 0 and below 2**32; got {seed!r}")
    return Subset(name, source, samples, float(validation), seed, **chosen)


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RunError(f"{where} must be a list of names of classes; got {value!r}")
    return tuple(value)
