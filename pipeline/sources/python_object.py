"""Source of any Python object with images and labels by index."""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError, machine_fault
from pipeline.modes import Mode
from pipeline.sources.class_names import tidied
from pipeline.sources.encoded import LESS_MEMORY
from pipeline.sources.indexed import Indexed, asked, classes_of, labels_of, plain
from pipeline.sources.pixels import UnkeptModeError, array_to_mode, to_mode
from pipeline.sources.protocol import no_labels
from pipeline.sources.target_values import read_targets
from pipeline.targets import TargetKind

_PROBES = 16


class ObjectSource:
    """An object whose items are (image, label): a Pillow image, array or tensor, and a number or text.

    Labels of kind multi_label are a list or a row of 0 and 1 per item, values a number or a row of them; of
    kind none items may be images alone, and entries after the image are ignored.

    Labels are taken from its attribute ``targets`` or ``labels`` where it has one and a few items agree with
    it, else by going through it once; names of classes from ``classes``. Each item's own label is compared
    with the one taken when its image is read. Items are asked for one at a time, since nothing is known of
    what they share.

    Parameters
    ----------
    data
        The object.
    name, split, kind
        See `Source`.

    Raises
    ------
    DataError
        When its items are no pairs, or its labels don't belong to them.
    """

    mode: Mode = "RGB"

    def __init__(self, data: Indexed, name: str, split: str, kind: TargetKind = "class") -> None:
        self.name = name
        self.split = split
        self.kind = kind
        self.origin = f"Python object {name} ({split})"
        self._data = data
        self._lock = threading.Lock()
        self._broken: dict[int, CorruptSampleError] = {}
        notes: list[str] = []
        self._given: Sequence[Any] = ()
        """Targets that aren't classes, as found."""
        size = asked(name, data, len)
        if kind == "none":
            self.labels: NDArray[Any] = no_labels(size)
            self.classes: tuple[str, ...] = ()
            self.notes: tuple[str, ...] = ()
            return
        given, classes = asked(name, data, labels_of), asked(name, data, classes_of)
        if given is not None and len(given) != size:
            raise DataError(
                f"{name} must have one label per item; it has {len(given):,} labels and {size:,} items: "
                "mend its attribute targets or labels"
            )
        if given is None:
            notes.append(
                f"{name} has no attribute targets or labels, so all of its items are read once for them"
            )
        elif (other := self._differing(given, classes)) is not None:
            index, found = other
            notes.append(
                f"the attribute targets or labels of {name} isn't what its items hold ({given[index]!r} and "
                f"{found!r} for item {index:,}): the items' labels are taken, and all are read once for them"
            )
            given = None
        if given is None:
            given = self._item_labels(size)
        readable = [index for index in range(size) if index not in self._broken]
        result = read_targets(
            kind,
            [given[index] for index in readable],
            self.origin,
            classes,
            image=lambda place: self.sample_name(readable[place]),
        )
        # An item that fails needs no label: it is refused, or left out, in its turn.
        self.labels = np.zeros((size, *result.labels.shape[1:]), result.labels.dtype)
        self.labels[readable] = result.labels
        self._given = () if kind == "class" else given
        self.classes = result.classes
        self.notes = (*notes, *result.notes)

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest the pixels of a few items, since there are no files; see `Source.fingerprint`."""
        digest = hashlib.sha256(self.labels.tobytes())
        for index in _spread(len(self)):
            try:
                digest.update(f"{zlib.crc32(self.read(index).data)} ".encode())
            except CorruptSampleError as error:
                # It fails again, and is named, in its turn.
                digest.update(str(error).encode())
        return digest.hexdigest()

    def in_mode(self, mode: Mode) -> ObjectSource:
        """Return the same images in another mode; see `pipeline.sources.protocol.in_mode`."""
        other = copy.copy(self)
        other.mode = mode
        return other

    def read(self, index: int) -> NDArray[Any]:
        """Convert the image of item ``index``; see `Source.read`.

        Raises
        ------
        DataError
            When the item holds another label than the one taken for it.
        """
        item = self._item(index)
        image = item[0]
        if self.kind != "none" and not self._keeps(index, plain(item[1])):
            before = (
                f"{self._given[index]!r:.60}"
                if self._given
                else (f"{self.classes[self.labels[index]]!r} (class {self.labels[index]})")
            )
            raise DataError(
                f"an item must keep its label; {self.sample_name(index)} holds {plain(item[1])!r}, and its "
                f"label was {before} before: mend "
                "its attribute targets or labels, or what makes its items differ from one time to the next"
            )
        try:
            if isinstance(image, Image.Image):
                return to_mode(image, self.mode)
            if isinstance(image, torch.Tensor):
                image = image.detach().cpu().numpy()
            if isinstance(image, np.ndarray):
                return array_to_mode(image, self.mode)
            raise ValueError(f"it is a {type(image).__name__}, and no Pillow image, array or tensor")
        except UnkeptModeError as error:
            raise CorruptSampleError(f"{self.sample_name(index)} must {error}") from None
        except Exception as error:  # Pillow's plugins raise arbitrary exceptions on damage.
            raise self._unreadable(index, error) from None

    def encoded(self, index: int) -> bytes | None:
        """Return None: an item is pixels, not a file."""
        return None

    def sample_name(self, index: int) -> str:
        """Return the name of item ``index``, as an index expression."""
        return f"{self.name}[{index}]"

    def _keeps(self, index: int, found: Any) -> bool:
        """Whether an item still has its recorded label."""
        if self._given:
            return self._agrees(found, self._given[index], self.classes)
        return self._agrees(found, int(self.labels[index]), self.classes)

    def _differing(self, given: Sequence[Any], classes: list[str] | None) -> tuple[int, Any] | None:
        """Return index and label of one of a few items whose label isn't ``given``; None if all agree."""
        for index in _spread(len(given)):
            try:
                found = plain(self._item(index)[1])
            except CorruptSampleError:
                continue
            if found != given[index] and not self._agrees(found, given[index], classes):
                return index, found
        return None

    @staticmethod
    def _agrees(found: Any, label: Any, classes: Sequence[str] | None) -> bool:
        """Whether an item's label is ``label``: the same, its class's name, or a one-hot row."""
        if isinstance(found, str | bytes) and not isinstance(label, str | bytes):
            text = found.decode(errors="replace") if isinstance(found, bytes) else found
            names = classes or ()
            known = isinstance(label, int) and 0 <= label < len(names)
            return known and tidied(text) == tidied(names[label])
        if isinstance(found, list | tuple):
            if isinstance(label, list | tuple):
                return list(found) == list(label)
            if len(found) == 1:
                return bool(found[0] == label)
            return [place for place, value in enumerate(found) if value] == [label]
        return bool(found == label)

    def _item_labels(self, size: int) -> list[Any]:
        """Read all items for their labels; those that fail are recorded."""
        labels: list[Any] = []
        for index in range(size):
            try:
                labels.append(plain(self._item(index)[1]))
            except CorruptSampleError as error:
                self._broken[index] = error
                labels.append(None)
        return labels

    def _item(self, index: int) -> Sequence[Any]:
        if index in self._broken:
            raise self._broken[index]
        try:
            with self._lock:
                item = self._data[index]
        except (Exception, SystemExit) as error:
            raise self._unreadable(index, error) from None
        if self.kind == "none":
            return item if isinstance(item, tuple | list) and len(item) else (item,)
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise DataError(
                f"items of {self.name} must be (image, label); {self.sample_name(index)} is a "
                f"{type(item).__name__}: wrap it in an object that gives such pairs, or take images alone by "
                "--targets none"
            )
        return item

    def _unreadable(self, index: int, error: BaseException) -> DataError:
        """Return the error to raise for an item: that it is corrupt, unless the machine is at fault."""
        fault_of_machine = machine_fault(self.sample_name(index), error, LESS_MEMORY)
        if fault_of_machine is not None:
            return fault_of_machine
        line = " ".join(str(error).split()) or type(error).__name__
        return CorruptSampleError(
            f"{self.sample_name(index)} must be an image; reading it gave: {line}: mend or remove it"
        )


def open_object(text: str, split: str, kind: TargetKind = "class") -> ObjectSource:
    """Import ``module:name`` and open it: an object, or a function or class that makes one.

    A callable is passed the split if it has a parameter of that name.

    Raises
    ------
    DataError
        When there is no such module or name, or nothing with ``__len__`` and ``__getitem__`` comes out.
    """
    module_name, _, path = text.partition(":")
    # The console command's own folder is on the path, and the user's is not.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
        if callable(found) and (inspect.isclass(found) or not _is_indexed(found)):
            takes_split = "split" in inspect.signature(found).parameters
            found = found(split=split) if takes_split else found()
    except DataError:
        raise
    except (Exception, SystemExit) as error:  # Scripts that aren't meant to be imported exit.
        line = " ".join(str(error).split()) or type(error).__name__
        raise machine_fault(text, error) or DataError(
            f"a source MODULE:NAME must be found from the current folder and made without arguments but "
            f"split; {text} gave: {line}"
        ) from None
    if not _is_indexed(found):
        raise DataError(
            f"a source MODULE:NAME must have __len__ and __getitem__; {text} is a {type(found).__name__}: "
            "wrap it in an object that has"
        )
    return ObjectSource(cast(Indexed, found), text, split, kind)


def _is_indexed(found: object) -> bool:
    return hasattr(found, "__len__") and hasattr(found, "__getitem__")


def _spread(size: int) -> list[int]:
    """Choose a few of ``size`` indices, evenly."""
    return [
        int(index) for index in np.unique(np.linspace(0, max(size - 1, 0), min(_PROBES, size)).astype(int))
    ]
