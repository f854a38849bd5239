"""A run's inputs: digests of its data sets and of files named by its options, and their check on resuming."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from trainer.config import Run
from trainer.data import Data, paths, stream_path
from trainer.errors import RunError
from trainer.pretrained.files import weights_in
from trainer.pretrained.initialize import source
from trainer.slots import RUN_SLOTS

Digests = Mapping[str, str | None]
"""SHA-256 in hexadecimal of "train", "test", "streams.NAME", and files by their option: "sampler.scores"."""


def digests(run: Run, data: Data) -> dict[str, str | None]:
    """Return the digests of all inputs of a run; None for a data set whose card has none.

    Raises
    ------
    RunError
        If a file can't be read.
    """
    sets = {"train": data.train.card.digest, "test": data.test.card.digest}
    streams = {f"streams.{name}": dataset.card.digest for name, dataset in data.streams.items()}
    return {**sets, **streams, **{option: _digest(option, path) for option, path in files(run)}}


def initial_weights(run: Run) -> dict[str, str | None]:
    """Return the digest of the weights that a run begins from, as "init_from"; nothing of random ones.

    Raises
    ------
    RunError
        If a file can't be read.
    """
    path = source(run)
    if path is None:
        return {}
    return {"init_from": _digest("init-from", weights_in(path))}


def kept(before: Digests) -> dict[str, str | None]:
    """Return those digests of a run's beginning that a resumed run passes on: of its initial weights."""
    return {name: digest for name, digest in before.items() if name == "init_from"}


def files(run: Run) -> Iterator[tuple[str, Path]]:
    """Yield the files that a run, its parts and its streams' samplers read: each with its option."""
    for slot in RUN_SLOTS:
        value = getattr(run, slot)
        for part in value if isinstance(value, tuple) else (value,):
            yield from _paths(slot, part)
    if run.labelled_list is not None:
        yield "labelled-list", run.labelled_list
    for stream in run.streams:
        yield from _paths(f"streams.{stream.name}.sampler", stream.sampler)


def _paths(prefix: str, part: Any) -> Iterator[tuple[str, Path]]:
    for item in fields(part):
        path = getattr(part, item.name)
        if isinstance(path, Path):
            yield f"{prefix}.{item.name}", path


def check(run: Run, before: Digests, now: Digests, where: Path) -> str | None:
    """Raise RunError if inputs have changed since a run began, unless ``run`` accepts this.

    Parameters
    ----------
    before, now
        Digests at the run's beginning and now. Entries in only one of them are ignored.
    where
        The run's folder.

    Returns
    -------
    str or None
        Description of the changes, if the run accepts them.

    Raises
    ------
    RunError
        If an input has changed; the message has both digests.
    """
    changed = [
        f"{_place(run, name)} has sha256 {now[name]}; it was {before[name]}"
        for name in now
        if before.get(name) and now[name] and before[name] != now[name]
    ]
    if not changed:
        return None
    description = "; ".join(changed)
    if run.accept_changed_data:
        return description
    raise RunError(
        f"a run must continue with the data that it began with; {description}: restore them, start another "
        f"run with --name, or continue anyway with --accept-changed-data (run folder {where})"
    )


def _place(run: Run, name: str) -> str:
    train, test = paths(run)
    streams = {f"streams.{stream.name}": stream_path(run, stream) for stream in run.streams}
    return str({"train": train, "test": test, **streams, **dict(files(run))}[name])


def _digest(option: str, path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            # Opening a FIFO would block, and /dev/zero has no end.
            raise OSError(errno.EINVAL, "it is no regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        made = ", or make it with `trainer score`" if path.suffix == ".npz" else ""
        raise RunError(
            f"--{option} must name a readable file; {path} can't be read ({error.strerror or error}): "
            f"name another{made}"
        ) from None
