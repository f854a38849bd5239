"""FFCV files of seeded noise, and where in them what stands."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from drawn_sets import Pixels, card_of
from PIL import Image

from pipeline.formats import Sample, StoredImage
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.card import Card

CARD = card_of([(1, 1)], {"even": 1, "odd": 0})


def jpeg(image: Pixels) -> bytes:
    """Encode an image; one whose channels are equal becomes a gray JPEG."""
    gray = (image == image[:, :, :1]).all()
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if gray else image).save(file, "JPEG", quality=90)
    return file.getvalue()


def write(
    path: Path, images: Sequence[Pixels], compressed: Callable[[int], bool] = lambda index: False
) -> Card:
    labels = [index % 2 for index in range(len(images))]
    card = replace(CARD, samples=len(images), class_counts=(labels.count(0), labels.count(1)))
    with BetonWriter(path, len(images)) as writer:
        for index, image in enumerate(images):
            content = jpeg(image) if compressed(index) else image.tobytes()
            full = StoredImage.of(content, image.shape[0], image.shape[1])
            name = f"{CARD.classes[labels[index]]}/{index:03}.img"
            writer.append(Sample([full], compressed(index), labels[index], name))
        card = writer.finish(card)
        writer.publish(card)
    return card
