"""The operations of RandAugment and its kin, a different one for every sample.

Which sample gets which operation is drawn on the host. So the samples of one kind form a group whose size is
known without asking the device, and each group is worked on as one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment import affine, levels
from pipeline.augment.rows import byte_rectangle, choose, to_bytes
from pipeline.batch import Draws

Floats = NDArray[np.float64]
Parameters = NDArray[np.generic]

_LEVELS = np.arange(256)
_CUTOUT_GREY = (125, 123, 114)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The samples that one operation was drawn for.

    Attributes
    ----------
    values
        float64[m], in the operation's own unit.
    places
        float64[m, 2], uniforms for operations that choose a place.
    height, width
        Of the images.
    """

    values: Floats
    places: Floats
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Operations that are worked on together.

    Attributes
    ----------
    work
        ``work(pixels, parameters)`` on the device.
    empty
        Parameters of no samples.
    """

    work: Callable[[Tensor, Tensor], Tensor]
    empty: Parameters


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its kind, and its parameters from what was drawn."""

    kind: str
    parameters: Callable[[Chosen], Parameters]


def _paint(pixels: Tensor, rectangle: Tensor) -> Tensor:
    """Fill rectangles (top, bottom, left, right), int64[m, 4], with Cutout's grey."""
    colour = [torch.full_like(pixels[..., :1], _CUTOUT_GREY[channel]) for channel in range(pixels.shape[3])]
    painted = to_bytes(torch.cat(colour, dim=3))
    mask = byte_rectangle(pixels, *rectangle.unbind(1))
    return choose(mask, painted, to_bytes(pixels)).view_as(pixels)


_NOTHING = np.empty((0, 1), dtype=np.float32)
_FACTORS = np.empty(0, dtype=np.float32)

KINDS: dict[str, Kind] = {
    "affine": Kind(affine.warp, np.empty((0, 6), dtype=np.int32)),
    "table": Kind(levels.look_up, np.empty((0, 256), dtype=np.uint8)),
    "autocontrast": Kind(lambda pixels, _: levels.autocontrast(pixels), _NOTHING),
    "equalize": Kind(lambda pixels, _: levels.equalize(pixels), _NOTHING),
    "contrast": Kind(levels.contrast, _FACTORS),
    "colour": Kind(levels.colour, _FACTORS),
    "sharpness": Kind(levels.sharpness, _FACTORS),
    "hue": Kind(levels.hue, _FACTORS),
    "cutout": Kind(_paint, np.empty((0, 4), dtype=np.int64)),
    "identity": Kind(lambda pixels, _: pixels, _NOTHING),
}


def _bare(chosen: Chosen) -> Parameters:
    return np.zeros((len(chosen.values), 1), dtype=np.float32)


def _factor(chosen: Chosen) -> Parameters:
    return chosen.values.astype(np.float32)


def _moved(matrices: Callable[[Floats, int, int], Floats]) -> Operation:
    return Operation(
        "affine",
        lambda chosen: affine.fixed_point(matrices(chosen.values, chosen.height, chosen.width)),
    )


def _tabled(entries: Callable[[Floats], Parameters]) -> Operation:
    """An operation that is a table of 256 levels, from values of shape [m, 1]."""
    return Operation(
        "table", lambda chosen: np.clip(entries(chosen.values[:, None]), 0, 255).astype(np.uint8)
    )


def _solarize(values: Floats) -> NDArray[np.int64]:
    return np.where(values > _LEVELS, _LEVELS, 255 - _LEVELS)


def _posterize(values: Floats) -> NDArray[np.int64]:
    return _LEVELS & ~((1 << (8 - values.astype(np.int64))) - 1)


def _solarize_add(values: Floats) -> NDArray[np.int64]:
    raised = np.minimum(_LEVELS + values.astype(np.int64), 255)
    return np.where(raised < 128, raised, 255 - raised)


def _square(chosen: Chosen) -> Parameters:
    """The published code's square: from the drawn middle, the far ends drawn too, cut off at the borders."""
    ends = []
    for uniform, size in ((chosen.places[:, 0], chosen.height), (chosen.places[:, 1], chosen.width)):
        first = np.maximum(0, uniform * size - chosen.values / 2).astype(np.int64)
        last = np.minimum(size, first + chosen.values).astype(np.int64) + 1
        ends += [first, np.minimum(last, size)]
    return np.stack(ends, axis=1)


OPERATIONS: dict[str, Operation] = {
    "identity": Operation("identity", _bare),
    "autocontrast": Operation("autocontrast", _bare),
    "equalize": Operation("equalize", _bare),
    "invert": _tabled(lambda values: np.broadcast_to(255 - _LEVELS, (len(values), 256))),
    "posterize": _tabled(_posterize),
    "solarize": _tabled(_solarize),
    "solarize_add": _tabled(_solarize_add),
    "brightness": _tabled(lambda values: values.astype(np.float32) * _LEVELS.astype(np.float32)),
    "contrast": Operation("contrast", _factor),
    "colour": Operation("colour", _factor),
    "sharpness": Operation("sharpness", _factor),
    "hue": Operation("hue", _factor),
    "shear_x": _moved(affine.shear_x),
    "shear_y": _moved(affine.shear_y),
    "translate_x": _moved(affine.translate_x),
    "translate_y": _moved(affine.translate_y),
    "rotate": _moved(affine.rotate),
    "cutout": Operation("cutout", _square),
}
"""Every operation. Values: bits kept (posterize), a threshold or a number of levels (solarize, solarize_add),
factors where 1 is the image (brightness, contrast, colour, sharpness), parts of a turn (hue), pixels
(translate, cutout), degrees (rotate), slopes (shear)."""


def draw_layer(
    names: Sequence[str], choice: NDArray[np.int64], values: Floats, places: Floats, height: int, width: int
) -> dict[str, Parameters]:
    """Group the samples of one layer of operations by kind.

    Parameters
    ----------
    names
        The operations to choose from.
    choice
        int64[n], for each sample an index into ``names``.
    values
        float64[n], each in its operation's unit.
    places
        float64[n, 2], uniforms.

    Returns
    -------
    ``order``, int64[n], the samples sorted by kind, and ``restore``, int64[n], its inverse; for every kind
    that ``names`` can lead to, in the order of `KINDS`, ``kind/with``, the parameters of its samples.
    """
    sorted_ = np.argsort(choice, kind="stable")
    bounds = np.searchsorted(choice[sorted_], np.arange(len(names) + 1))
    groups: dict[str, list[tuple[NDArray[np.int64], Parameters]]] = {}
    for index, name in enumerate(names):
        operation = OPERATIONS[name]
        group = groups.setdefault(operation.kind, [])
        at = sorted_[bounds[index] : bounds[index + 1]]
        if len(at):
            chosen = Chosen(values[at], places[at], height, width)
            group.append((at, operation.parameters(chosen)))
    drawn: dict[str, Parameters] = {}
    order = [np.empty(0, dtype=np.int64)]
    for name, kind in KINDS.items():
        if name in groups:
            order += [at for at, _ in groups[name]]
            drawn[f"{name}/with"] = np.concatenate([kind.empty, *(with_ for _, with_ in groups[name])])
    drawn["order"] = np.concatenate(order)
    drawn["restore"] = np.argsort(drawn["order"])
    return drawn


def apply_layer(pixels: Tensor, draws: Draws, prefix: str) -> Tensor:
    """Work on the groups of one layer.

    Parameters
    ----------
    pixels
        uint8[n, H, W, C], contiguous; stays as it is.
    draws
        What `draw_layer` gave, every name behind ``prefix``.
    """
    waiting = torch.index_select(pixels, 0, draws[f"{prefix}order"])
    done = [waiting[:0]]
    first = 0
    for name, kind in KINDS.items():
        with_ = draws.get(f"{prefix}{name}/with")
        if with_ is not None and with_.shape[0] > 0:
            last = first + with_.shape[0]
            done.append(kind.work(waiting[first:last], with_))
            first = last
    return torch.index_select(torch.cat(done), 0, draws[f"{prefix}restore"])


def draw_chance(
    name: str, applied: NDArray[np.bool_], values: Floats, height: int, width: int
) -> dict[str, Parameters]:
    """Draw a layer in which each sample gets one operation or none; as `draw_layer`.

    Parameters
    ----------
    applied
        bool[n]
    values
        float64[n]
    """
    nowhere = np.zeros((len(values), 2))
    return draw_layer(("identity", name), applied.astype(np.int64), values, nowhere, height, width)
