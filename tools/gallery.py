"""``trainer augment-gallery``: a picture of real images under each augmentation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.console import Console

from pipeline.augment import AUGMENTS, compose
from pipeline.errors import DataError, one_line
from pipeline.formats import Converted, open_dataset
from pipeline.formats.whole import write_whole
from pipeline.modes import shown
from pipeline.ops.memory import place
from pipeline.randomness import Keys
from tools.outputs import check_output

Pixels = NDArray[np.uint8]

_SMALL, _LARGE = 96, 144
_SQUARE = 224
_MOST_ROWS = 500
_GAP, _BETWEEN, _MARGIN, _LINE = 4, 16, 24, 15
_INK, _FAINT, _PAPER, _HOLE = (24, 24, 27), (113, 113, 122), (255, 255, 255), (244, 244, 245)
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Gallery:
    """Draw real images, and several draws of each augmentation of them."""

    file: tyro.conf.Positional[Path]
    """A converted data set."""

    augment: tuple[str, ...] = ()
    """Augmentations to show, one column each, with their default options; sequences are joined by +, as in
    standard+ricap. By default all."""

    out: Path | None = None
    """The PNG to write; by default beside the file: train.beton -> train.gallery.png."""

    images: int = 5
    """Number of images, of different classes if there are enough. Mixing uses partners among them."""

    draws: int = 3
    """Number of draws per image."""

    seed: int = 0
    """Seed of the augmentation."""

    def execute(self, console: Console) -> int:
        """Draw the picture.

        Raises
        ------
        DataError
            For options out of range, unknown augmentations, and as `pipeline.formats.open_dataset`.
        UsageError
            If ``out`` isn't a PNG that can be written.
        """
        if self.out is not None:
            check_output("--out", self.out, "gallery.png")
        for name in ("images", "draws"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.images * self.draws > _MOST_ROWS:
            raise DataError(
                f"images times draws must be at most {_MOST_ROWS} rows; got {self.images:,} times "
                f"{self.draws:,}: show fewer"
            )
        data = open_dataset(self.file)
        columns = self.augment or tuple(name for name in AUGMENTS if name != "none")
        ids = choose(data, self.images)
        originals = square(data, ids)
        augmented = {name: self._augment(name, data, ids, originals) for name in columns}
        by_class = data.card.target == "class"
        names = [
            data.card.classes[int(data.labels[index])] if by_class else one_line(data.name(int(index)))
            for index in ids
        ]
        out = self.out or self.file.with_suffix(".gallery.png")
        title = f"{data.card.name} ({data.card.split}), augmented"
        picture = paint(title, names, originals, augmented)
        file = io.BytesIO()
        picture.save(file, "PNG")
        write_whole(out, file.getvalue())
        console.print(f"gallery: {out}", highlight=False, markup=False, soft_wrap=True)
        return 0

    def _augment(self, name: str, data: Converted, ids: NDArray[np.int64], originals: Pixels) -> Pixels:
        """Return the draws of one column, uint8[draws, n, height, width, 3], without normalization."""
        mean, std = (
            np.broadcast_to(np.array(values, dtype=np.float32), 3)
            for values in (data.card.mean, data.card.std)
        )
        whole = compose(name.split("+"), mean.tolist(), std.tolist())
        images = torch.from_numpy(originals).permute(0, 3, 1, 2)
        made = []
        for draw in range(self.draws):
            keys = Keys(self.seed, draw, draw, ids, np.zeros_like(ids))
            parts = whole.draw(keys, *originals.shape[1:3]).parts
            draws = [{key: place(array, _CPU) for key, array in one.items()} for one in parts]
            floats = whole.transform(images, draws).permute(0, 2, 3, 1).numpy()
            made.append(np.rint((floats * std + mean) * 255).clip(0, 255).astype(np.uint8))
        return np.stack(made)


def choose(data: Converted, count: int) -> NDArray[np.int64]:
    """Return ids of images spread evenly over the set, by class if it has classes: int64[at most count]."""
    order = np.arange(len(data))
    if data.card.target == "class":
        order = np.argsort(data.labels, kind="stable")
    # The middle of each of `count` equal intervals of the samples, sorted by class.
    count = min(count, len(order))
    return order[((np.arange(count) + 0.5) * len(order) / count).astype(np.int64)]


def square(data: Converted, ids: NDArray[np.int64]) -> Pixels:
    """Read images, uint8[n, height, width, 3]; if sizes differ, center squares of 224 pixels."""
    images = [shown(data.image(int(index))) for index in ids]
    if len({image.shape for image in images}) == 1:
        return np.stack(images)
    return np.stack(
        [np.asarray(ImageOps.fit(Image.fromarray(image), (_SQUARE, _SQUARE))) for image in images]
    )


def paint(title: str, names: Sequence[str], originals: Pixels, columns: dict[str, Pixels]) -> Image.Image:
    """Return originals and augmentations: one block per image, one row per draw, one column per part."""
    draws = len(next(iter(columns.values())))
    tile = _SMALL if max(originals.shape[1:3]) <= _SMALL else _LARGE
    headings = {name: _wrapped(name) for name in columns}
    header = 76 + _LINE * max(len(lines) for lines in headings.values())
    label = 22
    block = label + draws * (tile + _GAP) + _BETWEEN
    width = 2 * _MARGIN + (len(columns) + 1) * (tile + _GAP) + _BETWEEN
    page = Image.new("RGB", (max(width, 560), header + len(originals) * block + _MARGIN - _BETWEEN), _PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, 18), title, _INK, ImageFont.load_default(20))
    caption = f"Each column is one augmentation alone; below each other, {draws} draws for the same image."
    pen.text((_MARGIN, 45), caption, _FAINT, ImageFont.load_default(13))
    font = ImageFont.load_default(12)
    first = _MARGIN + tile + _GAP + _BETWEEN
    for column, name in enumerate(columns):
        for line, text in enumerate(reversed(headings[name])):
            spot = (first + column * (tile + _GAP), header - 6 - _LINE * (line + 1))
            pen.text(spot, text, _INK, font)
    for row, (name, original) in enumerate(zip(names, originals, strict=True)):
        top = header + row * block
        pen.text((_MARGIN, top), name, _INK, ImageFont.load_default(14))
        _paste(page, pen, (_MARGIN, top + label), original, tile)
        for column, made in enumerate(columns.values()):
            for draw in range(draws):
                corner = (first + column * (tile + _GAP), top + label + draw * (tile + _GAP))
                _paste(page, pen, corner, made[draw, row], tile)
    return page


def _wrapped(name: str) -> list[str]:
    """Return a column's name wrapped to lines that fit into a tile."""
    lines = [""]
    for word in name.replace("_", "_ ").replace("+", " + ").split():
        if lines[-1] and len(lines[-1]) + len(word) > 13:
            lines.append("")
        lines[-1] += word
    return lines


def _paste(
    page: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], pixels: Pixels, tile: int
) -> None:
    """Paste an image into the center of its tile, enlarged by an integer factor or scaled down."""
    pen.rectangle((*corner, corner[0] + tile - 1, corner[1] + tile - 1), fill=_HOLE)
    picture = Image.fromarray(pixels)
    factor = tile // max(picture.size)
    if factor:
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    else:
        picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    page.paste(picture, (corner[0] + (tile - picture.width) // 2, corner[1] + (tile - picture.height) // 2))
