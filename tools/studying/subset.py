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
        Training samples to take, class by class at random; with the validation set.
    validation
        Fraction of them to hold out for choices, class by class; 0 for none.
    seed
        Of both draws.
    """

    name: str
    source: str
    samples: int
    validation: float
    seed: int

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
        test = StoredSource(data.test)
        again = ConvertOptions(overwrite=True)
        convert(test, folder / "test.beton", again, partial(report, f"{self.name}, test"))
        some = Sampled(StoredSource(data.train), self.samples, self.seed)
        options = ConvertOptions(validation=self.validation, seed=self.seed, overwrite=True)
        convert(some, folder / "train.beton", options, partial(report, f"{self.name}, train"))

    def _check(self, path: Path) -> None:
        card = open_dataset(path).card
        held = 0.0 if card.held_out is None else card.held_out.fraction
        if abs(card.samples - self.samples * (1 - self.validation)) > len(card.classes) or (
            held != self.validation
        ):
            raise DataError(
                f"{path} must hold what the study takes of {self.source}, {self.samples:,} samples of which "
                f"{self.validation:g} are held out; it holds {card.samples:,} with {held:g} held out: move "
                "it away, or give the set another name"
            )


def read_subset(name: str, entry: Any, where: str) -> Subset:
    """Read ``[data.NAME]``.

    Raises
    ------
    RunError
        If a key is unknown or missing, or a value is out of range.
    """
    keys = ("of", "samples", "validation", "seed")
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
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise RunError(f"{where}: samples must be a whole number of at least 1; got {samples!r}")
    if isinstance(validation, bool) or not isinstance(validation, int | float) or not 0 <= validation < 1:
        raise RunError(f"{where}: validation must be at least 0 and below 1, a fraction; got {validation!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise RunError(f"{where}: seed must be at least 0 and below 2**32; got {seed!r}")
    return Subset(name, source, samples, float(validation), seed)
