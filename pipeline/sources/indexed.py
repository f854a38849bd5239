"""Labels and class names of Python objects with images by index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from pipeline.errors import DataError, machine_fault

Part = TypeVar("Part")


class Indexed(Protocol):
    """A map-style data set, such as PyTorch's and many others."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def asked(name: str, data: Indexed, part: Callable[[Indexed], Part]) -> Part:
    """Return a part of an object; it is foreign code, which may raise anything."""
    try:
        return part(data)
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        raise machine_fault(name, error) or DataError(
            f"{name} must tell its length, and its targets, labels and classes where it has them; asking "
            f"gave: {line}: mend it"
        ) from None


def labels_of(data: Indexed) -> list[Any] | None:
    """Return the labels in an object's attribute ``targets`` or ``labels``; None if it has none."""
    given = next((getattr(data, name) for name in ("targets", "labels") if hasattr(data, name)), None)
    if isinstance(given, torch.Tensor | np.ndarray):
        return list(given.tolist())
    return [plain(label) for label in given] if isinstance(given, list | tuple) else None


def plain(label: Any) -> Any:
    """Convert arrays and tensors to plain numbers and lists."""
    return label.tolist() if isinstance(label, torch.Tensor | np.ndarray | np.generic) else label


def classes_of(data: Indexed) -> list[str] | None:
    """Return the names in an object's attribute ``classes``; None if it has none."""
    names = getattr(data, "classes", None)
    if not isinstance(names, list | tuple) or not names:
        return None
    return [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
