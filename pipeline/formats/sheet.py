"""A contact sheet: a few images of each class or label on one page, or of the whole set."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.formats.protocol import Converted
from pipeline.formats.whole import write_whole
from pipeline.modes import shown
from pipeline.targets import LABEL

_MOST_CLASSES = 200
_SMALL, _LARGE = 64, 112
_GAP, _MARGIN = 4, 24
_INK, _FAINT, _PAPER, _HOLE = (24, 24, 27), (113, 113, 122), (255, 255, 255), (244, 244, 245)


def contact_sheet(data: Converted, path: Path) -> None:
    """Draw images of every class, or with every label, spread evenly over the file, into a PNG.

    Small images are enlarged by whole factors, so that a pixel stays a pixel; large ones are scaled down. Of
    more than 200 classes every k-th is shown.

    Raises
    ------
    CorruptSampleError
        When an image to be shown can't be read.
    DataError
        When ``path`` can't be written.
    """
    names, members_of = _groups(data)
    classes = len(names)
    chosen = np.unique(np.linspace(0, classes - 1, min(classes, _MOST_CLASSES)).astype(np.int64))
    columns, each = _layout(len(chosen))
    tile = _SMALL if max(data.card.max_height, data.card.max_width) <= _SMALL else _LARGE
    rows = -(-len(chosen) // columns)
    label_height = 22
    block = (each * (tile + _GAP) + 20, tile + label_height + 14)
    header = 74
    width = 2 * _MARGIN + columns * block[0] - 20 - _GAP
    sheet = Image.new("RGB", (max(width, 560), header + rows * block[1] + _MARGIN - 14), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 18), _title(data), _INK, ImageFont.load_default(20))
    draw.text((_MARGIN, 45), _subtitle(data, len(chosen)), _FAINT, ImageFont.load_default(13))
    for place, label in enumerate(chosen):
        # Down the columns first, as one reads a list.
        left = _MARGIN + (place // rows) * block[0]
        top = header + (place % rows) * block[1]
        members = members_of(int(label))
        _label(draw, (left, top), block[0] - 20, names[label], len(members))
        for position, index in enumerate(_spread(members, each)):
            corner = (left + position * (tile + _GAP), top + label_height)
            draw.rectangle((*corner, corner[0] + tile - 1, corner[1] + tile - 1), fill=_HOLE)
            picture = _fitted(data.image(int(index)), tile)
            inset = ((tile - picture.width) // 2, (tile - picture.height) // 2)
            sheet.paste(picture, (corner[0] + inset[0], corner[1] + inset[1]))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    write_whole(path, file.getvalue())


def _groups(data: Converted) -> tuple[Sequence[str], Callable[[int], NDArray[np.int64]]]:
    """Return the names of the groups shown, and their members' indices: classes, labels, or all images."""
    card, values = data.card, data.targets.get(LABEL)
    if values is None or not card.classes:
        return ["all images"], lambda number: np.arange(len(data))
    if card.target == "multi_label":
        return card.classes, lambda number: np.flatnonzero(values[:, number])
    return card.classes, lambda number: np.flatnonzero(values == number)


def _layout(classes: int) -> tuple[int, int]:
    """Return the number of columns of classes, and of images per class."""
    if classes <= 5:
        return 1, 12
    if classes <= 20:
        return 2, 6
    return (4, 4) if classes <= 100 else (5, 3)


def _spread(members: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(members) <= count:
        return members
    return members[np.linspace(0, len(members) - 1, count).astype(np.int64)]


def _title(data: Converted) -> str:
    return f"{data.card.name} ({data.card.split})"


def _subtitle(data: Converted, shown: int) -> str:
    card = data.card
    sizes = f"{card.height}x{card.width}"
    if card.height is None or card.width is None:
        sizes = f"{card.min_height}x{card.min_width} to {card.max_height}x{card.max_width}"
    classes = card.spec.words
    if shown < len(card.classes):
        classes += f", {shown:,} of them shown"
    return f"{card.samples:,} images, {classes}, {sizes} pixels, {card.encoding}"


def _label(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, name: str, samples: int) -> None:
    """Write a group's name and count above its images, cut to the width there is."""
    name_font, count_font = ImageFont.load_default(14), ImageFont.load_default(12)
    count = f"{samples:,}"
    room = width - draw.textlength(count, count_font) - 10
    while len(name) > 1 and draw.textlength(name, name_font) > room:
        name = name.removesuffix("…")[:-1] + "…"
    draw.text(corner, name, _INK, name_font)
    draw.text((corner[0] + draw.textlength(name, name_font) + 8, corner[1] + 2), count, _FAINT, count_font)


def _fitted(image: NDArray[Any], tile: int) -> Image.Image:
    picture = Image.fromarray(shown(image))
    longer = max(picture.size)
    if longer > tile:
        picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        return picture
    factor = tile // longer
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
