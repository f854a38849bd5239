"""Images without a recipe: found, converted on first use, and a run chosen for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.formats import FORMATS, open_dataset
from pipeline.machine import memory
from pipeline.modes import Mode
from pipeline.sources import SOURCES, data_directory, open_source, splits_of
from pipeline.sources.csv_list import is_list, kind_listed
from pipeline.sources.protocol import Source, spec_of
from trainer.automatic.choices import Choice, choose, held_out, storage
from trainer.automatic.facts import Images, Machine, Wish
from trainer.automatic.probes import mode_of, sides_of
from trainer.config import Run
from trainer.data import VALIDATION, Report, paths
from trainer.errors import RunError
from trainer.hardware.device import choose_device, use_bf16
from trainer.parallel import World, of_torchrun
from trainer.recipe import from_table
from trainer.settings.rules import check_folder_name


@dataclass(frozen=True, slots=True)
class Found:
    """Images that a command line names in place of a recipe.

    Attributes
    ----------
    text
        As it names them.
    name
        What their recipe and their folder in the data directory are called.
    train
        The training set, which may not exist yet.
    source
        What it is converted from; None where ``text`` is a converted set.
    test
        Name of the source's split to evaluate on; None where it has none.
    why
        What speaks for the kind of its targets, where a list of images leaves that open.
    """

    text: str
    name: str
    train: Path
    source: Source | None = None
    test: str | None = None
    why: str | None = None


def find(text: str, data_dir: Path | None) -> Found | None:
    """Return the images that ``text`` names; None if it names none.

    Parameters
    ----------
    text
        A converted set; a folder, an archive, a list or a pattern of files; or the name of a set in the data
        directory.

    Raises
    ------
    DataError, RunError
        When they can't be read, or lie in the folder of a run.
    """
    path, folder = Path(text), data_dir or data_directory()
    if path.suffix.removeprefix(".") in FORMATS:
        return Found(text, path.resolve().parent.name if path.stem == "train" else path.stem, path)
    if text not in SOURCES and not path.exists() and (folder / text).is_dir():
        text = str(folder / text)
        path = Path(text)
    if (path / "run.toml").is_file():
        raise RunError(f"{text} is the folder of a run: give {path / 'run.toml'} to run it again")
    if text not in SOURCES and not path.exists() and not any(letter in text for letter in "*?[{:"):
        return None
    test = _test_split(text)
    kind, why = kind_listed(path) if is_list(path) else (None, None)
    source = open_source(text, split="train" if test is not None else None, data_dir=folder, targets=kind)
    check_folder_name("the name of a data set", source.name)
    return Found(text, source.name, folder / source.name / "train.beton", source, test, why)


def _test_split(text: str) -> str | None:
    """Return the split of a source to evaluate on, if it has one beside "train"."""
    if text in SOURCES:
        return "test"
    splits = splits_of(text)
    return next((part for part in ("test", "val") if part in splits and "train" in splits), None)


def machine_of(device: str) -> Machine:
    """Return the properties of this machine that choices depend on, for ``device`` of a run.

    Raises
    ------
    RunError
        When there is no such device.
    """
    # Each rank looks at its own GPU.
    chosen = choose_device(device, World(local_rank=of_torchrun("LOCAL_RANK", 0)))
    engines = ("resident", *(name for name in ("ffcv",) if importlib.util.find_spec(name) is not None))
    bf16 = use_bf16(Run(), chosen)
    if chosen.type == "cpu":
        return Machine(memory(), precision="bf16" if bf16 else "fp32", engines=engines)
    about = torch.cuda.get_device_properties(chosen)
    recent = torch.cuda.get_device_capability(chosen) >= (7, 0)
    return Machine(
        memory=about.total_memory,
        gpu=about.name,
        precision="bf16" if bf16 else "fp16" if recent else "fp32",
        compiles=recent and importlib.util.find_spec("triton") is not None,
        engines=engines,
    )


def prospect(found: Found, machine: Machine, wish: Wish) -> Run:
    """Return about the run that is going to be chosen, before anything is converted.

    Raises
    ------
    RunError
        When the images have nothing to learn.
    """
    if found.source is None:
        return chosen(found, machine, wish)[0]
    sides = sides_of(found.source)
    shape = sides[0] if len(set(sides)) == 1 else None
    spec = spec_of(found.source)
    # One of each class stays to be trained on.
    most = np.bincount(found.source.labels).max() if spec.kind == "class" else len(found.source)
    if found.test is None and spec.kind != "none" and most < 2:
        raise RunError(
            f"images without a test set must hold two of a class, one to be held out; {found.text} has "
            f"{len(found.source):,}, and none of them: add some, or a folder of each split"
        )
    images = Images(
        samples=len(found.source),
        outputs=len(spec.classes) or spec.columns or 1,
        kind=spec.kind,
        shape=shape,
        shorter=int(np.median([min(one) for one in sides])),
        pixels=0,
        mode=_mode(found)[0],
    )
    return _run(found, choose(images, machine, wish), None)


def prepare(found: Found, machine: Machine, report: Report, note: Callable[[str], None]) -> None:
    """Convert images that are not yet converted, holding out a validation set where they have no test set.

    Parameters
    ----------
    report
        Progress of the conversion.
    note
        Called with what is done, and with notes of the conversion, a line each.

    Raises
    ------
    DataError
        When an image can't be read, or the set can't be written.
    RunError
        When what is there was converted from other images, or several ranks would convert at once.
    """
    if found.source is None:
        return
    if found.train.exists():
        _check_same(found)
    test = found.train.with_name("test.beton")
    wanted = [(found.source, found.train)] if not found.train.exists() else []
    if found.test is not None and not test.exists():
        # Classes are matched by their names when a run begins.
        folder, kind = found.train.parents[1], found.source.kind
        kind_asked = kind if found.why is not None else None
        wanted.append((open_source(found.text, split=found.test, data_dir=folder, targets=kind_asked), test))
    if wanted and of_torchrun("WORLD_SIZE", 1) > 1:
        raise RunError(
            f"images must be converted before several processes train on them; {found.text} isn't: run it "
            "once without torchrun, or use `trainer convert`"
        )
    if wanted and found.why is not None:
        note(f"targets: {found.source.kind} ({found.why})")
    mode, reason = _mode(found) if wanted else ("RGB", "")
    if mode != "RGB":
        note(f"mode: {mode} ({reason})")
    for source, path in wanted:
        fraction = held_out(len(source)) if found.test is None else 0.0
        options, why = storage(sides_of(source), len(source), fraction, machine, mode)
        where = f" ({source.split})" if len(wanted) > 1 else ""
        note(f"stored size{where}: {why}")
        if fraction:
            of = "every class" if found.source.kind == "class" else "the images"
            note(f"test_data: {fraction:.0%} of {of} held out for validation, as there is no test set")
        _convert(source, path, options, report, note)


def _convert(
    source: Source, path: Path, options: ConvertOptions, report: Report, note: Callable[[str], None]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for line in source.notes:
        note(f"note: {line}")
    name = f"{source.name}, {source.split}"
    convert(source, path, options, partial(report, name), lambda line: note(f"note: {line}"))


def _check_same(found: Found) -> None:
    """Check that what is converted are the images that are named: as many, of the same classes."""
    assert found.source is not None
    train = open_dataset(found.train)
    held = train.card.held_out is not None
    kept = [train, open_dataset(validation_path(found.train))] if held else [train]
    count = sum(one.card.samples + one.card.skipped for one in kept)
    if count != len(found.source) or train.card.classes != tuple(found.source.classes):
        raise RunError(
            f"{found.train} must hold the images of {found.text}; it has {count:,} in "
            f"{len(train.card.classes):,} classes, and there are {len(found.source):,} in "
            f"{len(found.source.classes):,}: remove *.beton and *.card.json in {found.train.parent} to "
            f"convert them again, or run {found.train} as it is"
        )


def _mode(found: Found) -> tuple[Mode, str]:
    """Return the mode that the images are or will be stored in, and why.

    Those known by name are in color, as recipes have them.
    """
    if found.train.exists():
        return open_dataset(found.train).card.mode, "that of the training set, which is converted"
    if found.text in SOURCES or found.source is None:
        return "RGB", "that of sets known by name"
    return mode_of(found.source)


def chosen(found: Found, machine: Machine, wish: Wish) -> tuple[Run, tuple[Choice, ...]]:
    """Return the run for images that are converted, and the choices that it is made of.

    Raises
    ------
    DataError
        When the set can't be read.
    RunError
        When there is nothing to evaluate on, or to learn.
    """
    train = open_dataset(found.train)
    choices = choose(Images.of(train), machine, wish)
    return _run(found, choices, _held_out(found)), choices


def evaluated_on(run: Run) -> str:
    """Return the test set of a run in words."""
    return "what was held out for validation" if run.test_data == VALIDATION else str(paths(run)[1])


def _held_out(found: Found) -> str | None:
    test = found.train.with_name(f"test{found.train.suffix}")
    return VALIDATION if not test.exists() and validation_path(found.train).exists() else None


def _run(found: Found, choices: tuple[Choice, ...], test_data: str | None) -> Run:
    table = {choice.setting: choice.value for choice in choices}
    evaluated = {} if test_data is None else {"test_data": test_data}
    return from_table({"recipe": found.name, "data": str(found.train), **evaluated, **table}, found.text)
