"""The page of an evaluation: figures, confusions, calibration, and images that are answered wrongly."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from pipeline.errors import DataError
from pipeline.formats import Converted, is_converted
from pipeline.modes import shown
from pipeline.sources.protocol import Source
from pipeline.targets import TargetKind, TargetSpec
from tools.answers import ANSWERS
from tools.evaluating.classes import ClassExposition
from tools.evaluating.labels import LabelExposition
from tools.evaluating.protocol import Exposition
from tools.evaluating.values import ValueExposition
from tools.profiling.page import sorting
from tools.reporting.document import document, section
from tools.reporting.markup import Child, Safe, el
from tools.reporting.metrics import exact, heading
from tools.reporting.wording import count
from trainer.inference.exhibits import Exhibit

EXPOSITIONS: dict[TargetKind, type[Exposition]] = {
    "class": ClassExposition,
    "multi_label": LabelExposition,
    "value": ValueExposition,
}
"""By the kind of the targets that a network was trained on."""

SIDE = 160
"""Longer side of an image on the page, in pixels."""


def page(
    spec: TargetSpec,
    report: Any,
    exhibits: Sequence[Exhibit],
    images: Converted | Source,
    kicker: str,
    notes: Sequence[str] = (),
) -> str:
    """Return the page as text.

    Parameters
    ----------
    spec, report
        Of the targets that the network was trained on; how good its answers are.
    exhibits
        The images that it answered most wrongly.
    images
        The set that they are of.
    kicker
        What was evaluated on what.
    notes
        What a reader should know besides.
    """
    figures, exposition = ANSWERS[spec.kind](spec).figures(report), EXPOSITIONS[spec.kind](spec)
    first, value = figures[0]
    title = f"{heading(first)} {exact(first, _known(value))} on {count(report.images)} images"
    return document(
        title,
        el("header", el("p", kicker, class_="kicker"), el("h1", title)),
        el(
            "dl",
            [el("div", el("dt", heading(one)), el("dd", exact(one, _known(at)))) for one, at in figures],
            class_="tiles",
        ),
        exposition.sections(report),
        _gallery(exposition, exhibits, images),
        section("How to read this", el("ul", [el("li", note) for note in notes], class_="notes"))
        if notes
        else None,
        script=sorting(),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _gallery(exposition: Exposition, exhibits: Sequence[Exhibit], images: Converted | Source) -> Safe:
    if not exhibits:
        return section(exposition.wrong, el("p", "None: every answer is right."))
    drawn = [_exhibit(exposition, one, images) for one in exhibits]
    return section(
        exposition.wrong, el("p", exposition.order, class_="note"), el("div", drawn, class_="exhibits")
    )


def _exhibit(exposition: Exposition, exhibit: Exhibit, images: Converted | Source) -> Safe:
    name = images.name(exhibit.index) if is_converted(images) else images.sample_name(exhibit.index)
    true, answered = exposition.told(exhibit)
    try:
        pixels = images.image(exhibit.index) if is_converted(images) else images.read(exhibit.index)
        picture = el("img", src=_jpeg(shown(pixels)), alt=f"{name}: {answered}; true: {true}")
    except DataError:
        picture = el("p", "It can't be read again.", class_="note")
    lines: list[Child] = [el("strong", answered), f"true: {true}", el("span", name, class_="gloss")]
    return el("figure", picture, el("figcaption", [el("div", line) for line in lines]))


def _jpeg(pixels: Any) -> str:
    """Return an image as a data URL; small ones enlarged in whole steps."""
    image = Image.fromarray(pixels)
    times = max(1, SIDE // 2 // max(image.size))
    if times > 1:
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
