"""The operations of RandAugment and similar methods, a different one per sample.

The operation of each sample is drawn on the host. So samples of one kind form a group whose size is known
without synchronizing with the device, and each group is processed as one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Draws
from pipeline.ops import affine
from pipeline.ops import intensity as levels
from pipeline.ops.memory import byte_rectangle, choose, rework, to_bytes

Floats = NDArray[np.float64]
Parameters = NDArray[np.generic]

_CUTOUT_GRAY = (125, 123, 114)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The samples for which one operation was drawn.

    Attributes
    ----------
    values
        float64[m], in the operation's unit.
    positions
        float64[m, 2], uniforms for operations with a random position.
    height, width
        Size of the images in pixels.
    """

    values: Floats
    positions: Floats
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Operations with one implementation, which are processed together.

    Attributes
    ----------
    work
        ``work(pixels, parameters)``, on the device.
    empty
        Parameters of an empty group.
    """

    work: Callable[[Tensor, Tensor], Tensor]
    empty: Parameters


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its kind, and the function that computes its parameters from the draws."""

    kind: str
    parameters: Callable[[Chosen], Parameters]


def _paint(pixels: Tensor, rectangle: Tensor) -> Tensor:
    """Fill rectangles (top, bottom, left, right), int64[m, 4], with Cutout's gray."""
    color = [torch.full_like(pixels[..., :1], _CUTOUT_GRAY[channel]) for channel in range(pixels.shape[3])]
    painted = to_bytes(torch.cat(color, dim=3))
    mask = byte_rectangle(pixels, *rectangle.unbind(1))
    return choose(mask, painted, to_bytes(pixels)).view_as(pixels)


_NOTHING = np.empty((0, 1), dtype=np.float32)
_FACTORS = np.empty(0, dtype=np.float32)

KINDS: dict[str, Kind] = {
    "slide": Kind(affine.slide, np.empty((0, 3), dtype=np.int32)),
    "affine": Kind(affine.warp, np.empty((0, 6), dtype=np.int32)),
    "bits": Kind(levels.bits, np.empty((0, 5), dtype=np.uint8)),
    "autocontrast": Kind(lambda pixels, _: levels.autocontrast(pixels), _NOTHING),
    "equalize": Kind(lambda pixels, _: levels.equalize(pixels), _NOTHING),
    "brightness": Kind(levels.brightness, _FACTORS),
    "contrast": Kind(levels.contrast, _FACTORS),
    "color": Kind(levels.color, _FACTORS),
    "sharpness": Kind(levels.sharpness, _FACTORS),
    "hue": Kind(levels.hue, _FACTORS),
    "cutout": Kind(_paint, np.empty((0, 4), dtype=np.int64)),
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


def _slid(matrices: Callable[[Floats, int, int], Floats]) -> Operation:
    return Operation(
        "slide",
        lambda chosen: affine.offsets(matrices(chosen.values, chosen.height, chosen.width)),
    )


def _masks(chosen: Chosen) -> NDArray[np.uint8]:
    """Return masks for `pipeline.ops.intensity.bits` that change nothing."""
    masks = np.empty((len(chosen.values), 5), dtype=np.uint8)
    masks[:] = (255, 255, 0, 255, 0)
    return masks


def _invert(chosen: Chosen) -> Parameters:
    masks = _masks(chosen)
    masks[:, 4] = 255
    return masks


def _posterize(chosen: Chosen) -> Parameters:
    masks = _masks(chosen)
    masks[:, 3] = 256 - (1 << (8 - chosen.values.astype(np.int64)))
    return masks


def _solarize(chosen: Chosen) -> Parameters:
    masks, last = _masks(chosen), np.ceil(chosen.values) - 1
    everything = last < 0
    masks[:, 1] = np.where(everything, 255, np.minimum(last, 255))
    masks[:, 4] = 255 * everything
    return masks


def _solarize_add(chosen: Chosen) -> Parameters:
    masks, raised = _masks(chosen), chosen.values.astype(np.uint8)
    masks[:, 0] = 255 - raised
    masks[:, 1] = 127
    masks[:, 2] = raised
    return masks


def _square(chosen: Chosen) -> Parameters:
    """Return the published code's square: around the drawn center, ends inclusive, clipped at the borders."""
    ends = []
    for uniform, size in ((chosen.positions[:, 0], chosen.height), (chosen.positions[:, 1], chosen.width)):
        first = np.maximum(0, uniform * size - chosen.values / 2).astype(np.int64)
        last = np.minimum(size, first + chosen.values).astype(np.int64) + 1
        ends += [first, np.minimum(last, size)]
    return np.stack(ends, axis=1)


CUTOUT = Operation("cutout", _square)
"""The only operation with a random position."""

OPERATIONS: dict[str, Operation | None] = {
    "identity": None,
    "autocontrast": Operation("autocontrast", _bare),
    "equalize": Operation("equalize", _bare),
    "invert": Operation("bits", _invert),
    "posterize": Operation("bits", _posterize),
    "solarize": Operation("bits", _solarize),
    "solarize_add": Operation("bits", _solarize_add),
    "brightness": Operation("brightness", _factor),
    "contrast": Operation("contrast", _factor),
    "color": Operation("color", _factor),
    "sharpness": Operation("sharpness", _factor),
    "hue": Operation("hue", _factor),
    "shear_x": _slid(affine.shear_x),
    "shear_y": _moved(affine.shear_y),
    "translate_x": _slid(affine.translate_x),
    "translate_y": _slid(affine.translate_y),
    "rotate": _moved(affine.rotate),
    "cutout": CUTOUT,
}
"""Every operation; None is the identity. Values: bits kept (posterize), a threshold or a number of levels
(solarize, solarize_add), factors where 1 is the identity (brightness, contrast, color, sharpness), fractions
of a turn (hue), pixels (translate, cutout), degrees (rotate), slopes (shear)."""


def draw_layer(
    names: Sequence[str],
    choice: NDArray[np.int64],
    values: Floats,
    positions: Floats,
    height: int,
    width: int,
) -> dict[str, Parameters]:
    """Group the samples of one layer of operations by kind.

    Parameters
    ----------
    names
        The operations to choose from.
    choice
        int64[n], an index into ``names`` per sample.
    values
        float64[n], each in its operation's unit.
    positions
        float64[n, 2], uniforms.

    Returns
    -------
    For every kind among ``names``: ``kind/at``, int64[m], the indices of its samples, and ``kind/with``,
    their parameters, first axis m.
    """
    order = np.argsort(choice.astype(np.uint8), kind="stable")
    bounds = np.searchsorted(choice[order], np.arange(len(names) + 1))
    groups: dict[str, list[tuple[NDArray[np.int64], Parameters]]] = {}
    for index, name in enumerate(names):
        operation = OPERATIONS[name]
        if operation is not None:
            kind = KINDS[operation.kind]
            group = groups.setdefault(operation.kind, [(order[:0], kind.empty)])
            at = order[bounds[index] : bounds[index + 1]]
            if len(at):
                group.append((at, operation.parameters(Chosen(values[at], positions[at], height, width))))
    drawn: dict[str, Parameters] = {}
    for kind_, group in groups.items():
        drawn[f"{kind_}/at"] = np.concatenate([at for at, _ in group])
        drawn[f"{kind_}/with"] = np.concatenate([with_ for _, with_ in group])
    return drawn


def apply_layers(pixels: Tensor, draws: Draws, prefixes: Sequence[str]) -> Tensor:
    """Apply layers in sequence, each group as one batch.

    Parameters
    ----------
    pixels
        uint8[n, H, W, C], contiguous; not changed.
    draws
        The result of `draw_layer` for each layer, names preceded by the layer's prefix.
    """
    out = pixels.clone()
    for prefix in prefixes:
        for name, kind in KINDS.items():
            if f"{prefix}{name}/at" in draws:
                rework(out, draws[f"{prefix}{name}/at"], draws[f"{prefix}{name}/with"], kind.work)
    return out


def draw_chance(
    name: str, applied: NDArray[np.bool_], values: Floats, height: int, width: int
) -> dict[str, Parameters]:
    """Draw a layer of one operation that is applied to some samples; returns as `draw_layer`.

    Parameters
    ----------
    applied
        bool[n]
    values
        float64[n]
    """
    nowhere = np.zeros((len(values), 2))
    return draw_layer(("identity", name), applied.astype(np.int64), values, nowhere, height, width)
