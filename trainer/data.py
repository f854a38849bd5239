"""Finds a run's training and test sets, and converts them on first use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import DataError
from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.formats import FORMATS, Converted, open_dataset
from pipeline.multiplied import Multiplied, choose_classes
from pipeline.selected import Selected
from pipeline.sources import SHARDED, SOURCES, data_directory, open_source
from pipeline.sources.image_folder import splits_in
from pipeline.sources.shards import find_shards
from trainer.classes import check_modes, compare_shapes, match_classes
from trainer.config import Run
from trainer.errors import RunError
from trainer.labelled import REST
from trainer.labelled import part as labelled_part
from trainer.parallel import World
from trainer.settings.fitting import check_targets
from trainer.settings.streams import Stream

VALIDATION = "validation"
"""As ``test_data``, the set that was held out beside the training set."""

Report = Callable[[str, int, int], None]
"""Progress callback of a conversion: name, samples done, total samples."""


@dataclass(frozen=True, slots=True)
class Data:
    """The open data sets of a run.

    Attributes
    ----------
    train
        The training set, with the run's copies of samples, if any.
    notes
        Notes for the person who trains on them, one line each.
    streams
        The sets of further streams, by the streams' names.
    """

    train: Converted
    test: Converted
    notes: tuple[str, ...] = ()
    streams: Mapping[str, Converted] = field(default_factory=dict)

    @property
    def multiplied(self) -> tuple[int, ...] | None:
        """Labels of the classes that are multiplied; None if none or all are."""
        chosen = self.train.classes if isinstance(self.train, Multiplied) else None
        return None if chosen is None else tuple(sorted(chosen))


def open_data(run: Run, world: World, report: Report) -> Data:
    """Open a run's sets; a named set that is not yet converted is converted first, by rank 0.

    Raises
    ------
    DataError
        When a file is missing or broken, or its source isn't found.
    RunError
        When the two sets don't fit each other or the run.
    """
    train_path, test_path = paths(run)
    notes: list[str] = []
    wanted = [] if _is_path(run.data) else [(run.data, "train", train_path)]
    if wanted and run.test_data is None:
        wanted.append((run.data, "test", test_path))
    for stream in run.streams:
        if not _is_path(stream.data) and stream.data != REST:
            wanted.append((stream.data, "train", stream_path(run, stream)))
    if world.leads:
        for name, split, path in wanted:
            if not path.exists():
                notes += _convert(run, name, split, path, report)
    world.barrier()
    train = open_dataset(train_path)
    if run.test_data is None and not test_path.exists():
        raise DataError(
            f"a set to evaluate on must stand at {test_path} or be named by --test-data; found neither"
        )
    if run.test_data == VALIDATION and not test_path.exists():
        raise DataError(
            f"a validation set must stand at {test_path}; it doesn't: convert the training set with "
            "--validation, or name another by --test-data"
        )
    test = open_dataset(test_path)
    check_targets(run.method, train)
    if test.card.target != train.card.target:
        raise RunError(
            f"training and test set must have targets of one kind; those of {train_path} are of kind "
            f"{train.card.target} and those of {test_path} of kind {test.card.target}: convert either again"
        )
    if test.card.columns != train.card.columns:
        raise RunError(
            f"training and test set must have as many values per image; {train_path} has "
            f"{train.card.spec.words} and {test_path} {test.card.spec.words}: convert either again"
        )
    notes += match_classes(train, test) + compare_shapes(train, test)
    labelled, rest = labelled_part(run, train)
    streams = {stream.name: _stream(run, stream, train, rest) for stream in run.streams}
    check_modes(train, [test, *streams.values()])
    if rest is not None:
        notes.append(f"{len(labelled):,} of {len(train):,} training samples are labelled")
    data = Data(multiplied(run, labelled), test, tuple(notes), streams)
    _check(run, data)
    return data


def multiplied(run: Run, train: Converted) -> Converted:
    """Return a run's training set, with copies if it multiplies samples.

    Raises
    ------
    DataError
        When the fraction of classes to multiply comes to none.
    """
    if run.multiply == 1:
        return train
    chosen = None
    if run.multiply_classes < 1:
        # A class without samples can't be multiplied.
        labels = np.unique(train.labels)
        chosen = labels[choose_classes(len(labels), run.multiply_classes, run.multiply_seed)].tolist()
    return Multiplied(train, run.multiply, chosen)


def digest(train: Converted) -> str | None:
    """Return the digest of a training set in scores files: SHA-256 in hexadecimal, None if it has none.

    The card's; for a multiplied set a digest of the card's and the copies, as ids depend on both.
    """
    own = train.card.digest
    if own is not None and isinstance(train, Selected):
        return hashlib.sha256(own.encode() + train.stored.tobytes()).hexdigest()
    if own is None or not isinstance(train, Multiplied):
        return own
    own = digest(train.dataset)
    classes = "all" if train.classes is None else sorted(train.classes)
    return hashlib.sha256(f"{own} {train.times} {classes}".encode()).hexdigest()


def paths(run: Run) -> tuple[Path, Path]:
    """Return the paths of a run's training and test sets, which may not exist yet.

    A path given as ``data`` goes with the test set of the same format beside it, unless ``test_data`` names
    another, or is "validation" for the set that the training set's conversion held out.
    """
    train = _training_path(run, run.data)
    test = train.with_name("test" + train.suffix)
    if run.test_data == VALIDATION:
        test = validation_path(train)
    elif run.test_data is not None:
        test = Path(run.test_data)
    return train, test


def stream_path(run: Run, stream: Stream) -> Path:
    """Return the path of a stream's set, which may not exist yet."""
    return _training_path(run, run.data if stream.data == REST else stream.data)


def _stream(run: Run, stream: Stream, train: Converted, rest: NDArray[np.int64] | None) -> Converted:
    """Return a stream's set, of which "rest" is what a run doesn't train on with labels."""
    if stream.data != REST:
        return open_dataset(stream_path(run, stream))
    if rest is None or not len(rest):
        raise RunError(
            f"streams.{stream.name} is the rest of the training set, and all of its samples are labelled: "
            "add --labelled 0.1, or name another set as its data"
        )
    return Selected(train, rest)


def _training_path(run: Run, data: str) -> Path:
    return Path(data) if _is_path(data) else (run.data_dir or data_directory()) / data / "train.beton"


def _is_path(data: str) -> bool:
    """Whether ``data`` is the path of a converted set, by its ending, rather than a name."""
    return Path(data).suffix.removeprefix(".") in FORMATS


def _convert(run: Run, name: str, split: str, path: Path, report: Report) -> list[str]:
    """Convert a split of the set ``name``, and return notes on it."""
    folder = run.data_dir or data_directory()
    # A set that torchvision doesn't have is an image folder by that name in the data directory.
    text = name if name in SOURCES else str(folder / name)
    if name not in SOURCES:
        _check_folder(folder / name, split)
    source = open_source(text, split=split, data_dir=folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = [f"{name}, {split}: {note}" for note in source.notes]
    convert(source, path, ConvertOptions(), partial(report, f"{name}, {split}"), notes.append)
    return notes


def _check_folder(folder: Path, split: str) -> None:
    """Check, without walking it, that a folder is a set with splits: otherwise it may be a home folder."""
    if not folder.is_dir() or split in splits_in(folder):
        return
    if not any(find_shards(str(folder), ending, split) for ending in SHARDED):
        raise RunError(
            f"data must be a converted set, the name of one, or a folder with splits, train/CLASS/IMAGE and "
            f"test/CLASS/IMAGE; {folder} holds no {split}: convert it with `trainer convert {folder} "
            f"{folder.name or 'data'}.beton` and give that"
        )


def _check(run: Run, data: Data) -> None:
    train = data.train
    if train.card.target == "class" and len(train.card.classes) < 2:
        raise RunError(
            f"a training set must have at least 2 classes; {train.path} has {len(train.card.classes)}"
        )
    if run.batch_size > len(train):
        raise RunError(
            f"batch_size must be at most the {len(train):,} samples of this set; got {run.batch_size:,}"
        )
