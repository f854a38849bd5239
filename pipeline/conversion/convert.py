"""Conversion of a source's images into one data file, in parallel and atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from pipeline.complaints import gathering
from pipeline.conversion.job import Conversion, Progress, Tally
from pipeline.conversion.journal import Journal
from pipeline.conversion.options import ConvertOptions, skipped_path, validation_path
from pipeline.errors import CorruptSampleError, DataError, MachineError, one_line
from pipeline.formats import format_of
from pipeline.formats.card import Card, HeldOut, card_path, creator, read_card
from pipeline.formats.protocol import Writer
from pipeline.formats.whole import partial_path, write_whole
from pipeline.machine import cores
from pipeline.pillow import pixel_limit
from pipeline.randomness import Keys, uniforms
from pipeline.sources.holdout import hold_out
from pipeline.sources.labels import check_labels
from pipeline.sources.protocol import Source, in_mode, spec_of, targets_of
from pipeline.sources.store import Storage, fit
from pipeline.targets import check_targets

RAW_UP_TO = 64
"""Maximum longer side in pixels of images stored raw if the encoding isn't given."""
_PROBES = 256
_MOST_DOUBTS = 3

__all__ = ["RAW_UP_TO", "ConvertOptions", "convert", "skipped_path", "validation_path"]


def convert(
    source: Source,
    out: Path,
    options: ConvertOptions,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Card:
    """Convert a source into ``out`` and its card, and into a second pair for a validation set.

    The same source and options give the same bytes. Until everything is written and on the disk nothing
    appears under the final names, and what was there stays. One that was killed or interrupted, or stopped at
    a corrupt image or by a fault of the machine, has left a journal and its unfinished files; the next one of
    the same source with the same options goes on from there, and any other starts over.

    Parameters
    ----------
    source
        The images.
    out
        The data file; its ending chooses the format.
    options
        See `ConvertOptions`.
    progress
        Called with (done, total) images as they are written.
    note
        Called with notes for the person who converts, one line each.

    Returns
    -------
    Card
        Of ``out``.

    Raises
    ------
    CorruptSampleError
        When an image can't be decoded; the line names it.
    DataError
        When the source is empty, a file is there already, or can't be written.
    """
    _check(source)
    source = in_mode(source, options.mode)
    paths = [out, validation_path(out)] if options.validation else [out]
    format_of(out)
    with gathering(), pixel_limit(options.max_pixels):
        journal = Journal(out, _conversion(source, options))
        _make_way(out, paths, options, journal)
        held = _held(source, options)
        storage = _storage(source, options)
        done, tell = None, note
        while done is None:
            done = _attempt(source, storage, held, options, paths, journal, progress, tell)
            tell = None
    cards, doubtful = done
    if doubtful and note is not None:
        note(_doubts(doubtful))
    return cards[0]


def _doubts(doubtful: Sequence[tuple[str, str]]) -> str:
    """Return the line on images that were decoded although their decoders complained."""
    shown = "; ".join(f"{name}: {complaint}" for name, complaint in doubtful[:_MOST_DOUBTS])
    more = f"; and {len(doubtful) - _MOST_DOUBTS:,} more" if len(doubtful) > _MOST_DOUBTS else ""
    return f"{len(doubtful):,} images are kept although their decoders complain of them ({shown}{more})"


def _attempt(
    source: Source,
    storage: Storage,
    held: NDArray[np.bool_],
    options: ConvertOptions,
    paths: list[Path],
    journal: Journal,
    progress: Progress | None,
    note: Callable[[str], None] | None,
) -> tuple[list[Card], list[tuple[str, str]]] | None:
    """Convert, going on from the journal: cards, and names and complaints of doubtful images.

    None if the journal held records without their bytes, and was truncated.
    """
    sizes = [len(source) - int(held.sum()), int(held.sum())]
    earlier = len(journal)
    with ExitStack() as stack:
        writers: list[Writer] = [
            stack.enter_context(
                format_of(path).create(
                    path,
                    size,
                    levels=storage.levels,
                    resume=earlier > 0,
                    targets=spec_of(source),
                    mode=options.mode,
                )
            )
            for path, size in zip(paths, sizes, strict=False)
        ]
        if note is not None and not all(writer.locked for writer in writers):
            note(
                f"{paths[0].parent.absolute()} is on a file system without locks: nothing keeps a second "
                "conversion to the same name away"
            )
        conversion = Conversion(source, storage, held, writers, options.skip_corrupt)
        try:
            sound = conversion.take_over(journal)
            if sound < earlier:
                journal.keep(sound)
                _suspend(writers, journal)
                return None
            journal.start()
            conversion.go_on(journal, options.workers or cores(), progress)
            cards = _publish(source, storage, options, paths, writers, conversion.tallies, journal)
        except (KeyboardInterrupt, MemoryError, CorruptSampleError, MachineError):
            if earlier or conversion.done:
                _suspend(writers, journal)
            else:
                journal.discard()
            raise
        except BaseException:
            journal.discard()
            raise
    return cards, [one for tally in conversion.tallies for one in tally.doubtful]


def _publish(
    source: Source,
    storage: Storage,
    options: ConvertOptions,
    paths: list[Path],
    writers: list[Writer],
    tallies: list[Tally],
    journal: Journal,
) -> list[Card]:
    cards = []
    for part, (path, writer, tally) in enumerate(zip(paths, writers, tallies, strict=True)):
        if not tally.members:
            raise DataError(
                f"{path} must hold at least 1 image; all {len(tally.skipped):,} images of {source.origin} "
                "that are meant for it are corrupt"
            )
        held_out = None
        if options.validation:
            name: Literal["training", "validation"] = "validation" if part else "training"
            held_out = HeldOut(name, options.validation, options.seed)
        fraction = options.jpeg_fraction if options.encoding == "proportion" else None
        cards.append(writer.finish(tally.card(source, storage, fraction, held_out)))
    journal.add({"digests": [card.digest for card in cards]})
    # The main file comes last: where it stands, its validation set does too.
    for path, writer, card, tally in reversed(list(zip(paths, writers, cards, tallies, strict=True))):
        if tally.skipped:
            lines = [
                "\t".join(one_line(text.replace("\\", r"\\")) for text in entry) + "\n"
                for entry in tally.skipped
            ]
            write_whole(skipped_path(path), "".join(lines).encode())
        else:
            skipped_path(path).unlink(missing_ok=True)
        writer.publish(card)
    journal.discard()
    return cards


def _suspend(writers: list[Writer], journal: Journal) -> None:
    for writer in writers:
        writer.suspend()
    journal.close()


def _check(source: Source) -> None:
    if len(source) == 0:
        raise DataError(f"{source.origin} must hold at least 1 image; it holds none")
    odd = next((name for name in source.classes if one_line(name) != name), None)
    if odd is not None:
        raise DataError(
            f"names of classes must be UTF-8 without control characters; {source.origin} has "
            f"{one_line(odd)!r}: rename it"
        )
    if source.kind == "class":
        check_labels(source.labels, len(source.classes), source.origin, source.sample_name)
    check_targets(spec_of(source), targets_of(source), len(source), source.origin, source.sample_name)


def _held(source: Source, options: ConvertOptions) -> NDArray[np.bool_]:
    if not options.validation:
        return np.zeros(len(source), np.bool_)
    # A set without classes is held out as one class.
    labels = source.labels if source.kind == "class" else np.zeros(len(source), np.int64)
    held = hold_out(labels, options.validation, options.seed)
    if not held.any():
        raise DataError(
            f"a validation set needs a class of at least 2 images; {source.origin} has {len(source)} "
            "images, each in a class of its own: convert without validation"
        )
    return held


def _storage(source: Source, options: ConvertOptions) -> Storage:
    compressed = np.full(len(source), options.encoding == "jpeg")
    if options.encoding is None and options.mode != "I;16":
        compressed[:] = any(max(shape) > RAW_UP_TO for shape in _probed_shapes(source, options))
    elif options.encoding == "proportion":
        ids = np.arange(len(source))
        keys = Keys(options.seed, 0, 0, ids, np.zeros_like(ids))
        compressed = uniforms(keys, "convert/jpeg", 1)[:, 0] < options.jpeg_fraction
    return Storage(
        compressed,
        options.quality,
        options.reencode,
        options.max_resolution,
        options.square,
        options.levels,
        options.mode,
    )


def _probed_shapes(source: Source, options: ConvertOptions) -> Iterator[tuple[int, int]]:
    for index in np.unique(np.linspace(0, len(source) - 1, _PROBES).astype(np.int64)):
        try:
            image = source.read(int(index))
        except CorruptSampleError:
            # It fails again, and is named, in its turn.
            continue
        height, width, _ = fit(image, options.max_resolution, options.square).shape
        yield height, width


def _conversion(source: Source, options: ConvertOptions) -> dict[str, Any]:
    """Return everything that the bytes of a conversion depend on."""
    settings = asdict(options)
    for option in ("workers", "overwrite", "skip_corrupt"):
        del settings[option]
    if options.mode == "RGB":
        del settings["mode"]
    return {
        "options": settings,
        "source": [source.name, source.split, source.origin, source.classes, source.fingerprint()],
        "targets": source.kind,
        "labels": hashlib.sha256(source.labels.tobytes()).hexdigest(),
        "by": [creator(), PIL.__version__, features.version("libjpeg_turbo")],
    }


def _make_way(out: Path, paths: list[Path], options: ConvertOptions, journal: Journal) -> None:
    """Check that no file is in the way, and remove the files of a conversion that can't resume."""
    # Killed while it gave its files their names, a conversion has left some that are there already.
    none: list[str | None] = [None] * len(paths)
    digests = next((record["digests"] for record in journal if "digests" in record), none)
    for path, digest in zip(paths, digests, strict=True):
        ours = digest is not None and path.exists() and format_of(path).digest(path) == digest
        if path.exists() and not options.overwrite and not ours:
            raise DataError(f"{path} must not be there already: give --overwrite, or another name")
        if not ours and not partial_path(path).exists():
            # An older file would be taken for the part that is missing.
            journal.keep(0)
    lone = [card_path(path) for path in paths if card_path(path).exists() and not path.exists()]
    if lone and not options.overwrite:
        raise DataError(
            f"{lone[0]} must not be there already, without its data set: give --overwrite or another name, "
            "or remove it"
        )
    earlier = validation_path(out)
    card = None if earlier in paths or not earlier.exists() else read_card(earlier)
    if card is not None and card.held_out is not None:
        raise DataError(
            f"{earlier} must not stay beside a set that holds its images as well: remove it, or give "
            "--validation"
        )
    for path in (out, earlier):
        if not (len(journal) and path in paths):
            format_of(path).remove_stale(path)
