"""Section of a profile's page on the loader: its rates, against what the training takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tools.profiling.charts import quantity
from tools.reporting import figures
from tools.reporting.curves import figure
from tools.reporting.document import section
from tools.reporting.figures import Line
from tools.reporting.markup import Safe, el
from tools.reporting.wording import count, multiple

Row = Mapping[str, Any]


def loader(profile: Row) -> Safe | None:
    """Return the loader's rates, against what the training takes."""
    found = profile.get("loader")
    if not found:
        return None
    step = profile["together"]["milliseconds"] / 1e3
    consumed = profile["batch_size"] / step
    facts = []
    if profile["loading"] is not None:
        rate = profile["loading"]["images_per_second"]
        facts.append(
            f"Alone, on the set as it comes, the loader gives {count(rate)} images/s, "
            f"{multiple(rate / consumed)} as many as the training takes."
        )
    facts.append(f"An image takes {quantity(found['bytes_per_image'], 'B')} in the file.")
    if found["cold"]:
        cold = found["cold"]
        facts.append(
            f"From the disk, past the page cache, one thread reads {count(cold['images_per_second'])} "
            f"images/s, {quantity(cold['bytes_per_second'], 'B/s')}."
        )
    if found.get("unvaried"):
        facts.append(found["unvaried"])
    drawing = None
    if len(found["threads"]) > 1:
        x = np.array([row["threads"] for row in found["threads"]], dtype=np.float64)
        y = np.array([row["images_per_second"] for row in found["threads"]])
        needed = np.full_like(x, consumed)
        told = ", ".join(
            f"{row['threads']} threads {count(row['images_per_second'])}" for row in found["threads"]
        )
        drawing = figure(
            figures.lines(
                "threads",
                [Line(x, y, 0), Line(x, needed, 1, dash=1)],
                title="Images per second against threads",
                description=f"Line plot: {told}; the training takes {count(consumed)}.",
                x_label="threads of the engine",
                y_label="images/s",
                from_zero=True,
            ),
            "The loader alone; dashed: what the training takes",
        )
    return section(
        "The loader",
        el("div", drawing, el("ul", [el("li", fact) for fact in facts], class_="notes"), class_="pair"),
    )
