"""Any Python object that gives images and labels by index."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources.labels import numbered
from pipeline.sources.pixels import array_to_rgb, to_rgb

_PROBES = 16


class Indexed(Protocol):
    """What a data set of PyTorch's is, and many another."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class ObjectSource:
    """An object whose items are (image, label): a Pillow image, array or tensor, and a number or text.

    Labels are taken from its attribute ``targets`` or ``labels`` where it has one, else by going through it
    once; names of classes from ``classes``. Items are asked for one at a time, since nothing is known of what
    they share.

    Parameters
    ----------
    data
        The object.
    name, split
        See `Source`.

    Raises
    ------
    DataError
        When its items are no pairs, or its labels don't belong to them.
    """

    def __init__(self, data: Indexed, name: str, split: str) -> None:
        self.name = name
        self.split = split
        self.origin = f"Python object {name} ({split})"
        self._data = data
        self._lock = threading.Lock()
        given = _labels_of(data)
        self.notes: tuple[str, ...] = ()
        if given is None:
            self.notes = (
                f"{name} has no attribute targets or labels, so all of its items are read once for them",
            )
            given = [_plain(self._item(index)[1]) for index in range(len(data))]
        if len(given) != len(data):
            raise DataError(
                f"{name} must have a label an item; it has {len(given):,} labels and {len(data):,} items: "
                "mend its attribute targets or labels"
            )
        self.labels, self.classes = numbered(
            given if len(given) else np.zeros(0, np.int64), self.origin, _classes_of(data)
        )

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest the pixels of a few items, since there are no files to look at; see `Source.fingerprint`."""
        digest = hashlib.sha256(self.labels.tobytes())
        for index in np.unique(np.linspace(0, len(self) - 1, _PROBES).astype(np.int64)):
            try:
                digest.update(f"{zlib.crc32(self.read(int(index)).data)} ".encode())
            except CorruptSampleError as error:
                # It is met again, and named, when its turn comes.
                digest.update(str(error).encode())
        return digest.hexdigest()

    def read(self, index: int) -> NDArray[np.uint8]:
        """Convert the image of item ``index``; see `Source.read`."""
        image = self._item(index)[0]
        try:
            if isinstance(image, Image.Image):
                return to_rgb(image)
            if isinstance(image, torch.Tensor):
                image = image.detach().cpu().numpy()
            if isinstance(image, np.ndarray):
                return array_to_rgb(image)
            raise ValueError(f"it is a {type(image).__name__}, and no Pillow image, array or tensor")
        except Exception as error:  # Pillow's plugins raise whatever the damage leads them to.
            raise self._unreadable(index, error) from None

    def encoded(self, index: int) -> bytes | None:
        """Give None: an item is pixels, not a file."""
        return None

    def sample_name(self, index: int) -> str:
        """Name item ``index`` as one would ask for it."""
        return f"{self.name}[{index}]"

    def _item(self, index: int) -> Sequence[Any]:
        try:
            with self._lock:
                item = self._data[index]
        except Exception as error:
            raise self._unreadable(index, error) from None
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise DataError(
                f"items of {self.name} must be (image, label); {self.sample_name(index)} is a "
                f"{type(item).__name__}: wrap it in an object that gives such pairs"
            )
        return item

    def _unreadable(self, index: int, error: Exception) -> CorruptSampleError:
        line = " ".join(str(error).split()) or type(error).__name__
        return CorruptSampleError(
            f"{self.sample_name(index)} must be an image; reading it gave: {line}: mend or remove it"
        )


def open_object(text: str, split: str) -> ObjectSource:
    """Import ``module:name`` and open what is there: an object, or a function or class that makes one.

    What is called is given the split where it has a parameter of that name.

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
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"a source MODULE:NAME must be found from the current folder and made without arguments but "
            f"split; {text} gave: {line}"
        ) from None
    if not _is_indexed(found):
        raise DataError(
            f"a source MODULE:NAME must have __len__ and __getitem__; {text} is a {type(found).__name__}: "
            "wrap it in an object that has"
        )
    return ObjectSource(cast(Indexed, found), text, split)


def _is_indexed(found: object) -> bool:
    return hasattr(found, "__len__") and hasattr(found, "__getitem__")


def _labels_of(data: Indexed) -> list[Any] | None:
    given = next((getattr(data, name) for name in ("targets", "labels") if hasattr(data, name)), None)
    if isinstance(given, torch.Tensor | np.ndarray):
        return list(given.tolist())
    return [_plain(label) for label in given] if isinstance(given, list | tuple) else None


def _plain(label: Any) -> Any:
    """Turn a number in an array or tensor into a plain one."""
    return label.item() if isinstance(label, torch.Tensor | np.ndarray | np.generic) else label


def _classes_of(data: Indexed) -> list[str] | None:
    names = getattr(data, "classes", None)
    if not isinstance(names, list | tuple) or not names:
        return None
    return [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
