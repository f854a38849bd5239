"""Section of a profile's page on memory: by owner, and over a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.profiling import charts
from tools.profiling.charts import quantity
from tools.reporting.document import section
from tools.reporting.markup import Child, Safe, el, table
from tools.reporting.wording import percent

Row = Mapping[str, Any]


def memory(profile: Row) -> Safe | None:
    """Return the memory's owners, and what batch would fit."""
    held = profile.get("memory")
    if not held:
        return None
    owners = {name: size for name, size in held["owners"].items() if size}
    spoken = ", ".join(f"{name} {quantity(size, 'B')}" for name, size in owners.items())
    rows: list[list[Child]] = [[charts.owner(name), quantity(size, "B")] for name, size in owners.items()]
    whose = "the process" if held["device"] == "cpu" else "PyTorch on the device"
    each = f", by {quantity(held['per_image'], 'B')} per image"
    if not held["fits"]:
        fits = ""
    elif held["fits"] >= held.get("samples", float("inf")):
        fits = f" A batch of all {held['samples']:,} images of the set would fit{each}."
    else:
        fits = f" About {held['fits']:,} images per batch would fit{each}."
    peak, free = quantity(held["peak"], "B"), quantity(held["free"], "B")
    said = f"At its largest, {whose} held {peak}; {free} are free.{fits}"
    return section(
        "Memory over a step, by owner",
        el("p", said),
        charts.stack(owners, f"Memory by owner: {spoken}"),
        el(
            "div",
            table(["Owner", "Bytes"], rows, "Bytes by owner when a forward pass ends"),
            _over_a_step(held.get("curve")),
            class_="pair",
        ),
    )


def _over_a_step(curve: Row | None) -> Safe | None:
    """Return the tensors alive over a step's operations; None for compiled steps, which show none."""
    if not curve or not curve["at"]:
        return None
    totals = [sum(values) for values in zip(*curve["owners"].values(), strict=True)]
    peak = max(range(len(totals)), key=totals.__getitem__)
    at = curve["at"][peak]
    phase = next((name for name, first in reversed(curve["phases"]) if first <= at), None)
    owned = {name: values[peak] for name, values in curve["owners"].items() if values[peak]}
    shares = ", ".join(f"{name} {percent(size / max(1, totals[peak]))}" for name, size in owned.items())
    said = (
        f"The tensors of a batch, from augmentation to update, hold most, {quantity(totals[peak], 'B')}, "
        f"{'' if phase is None else f'in the phase {phase}, '}at operation {at:,} of "
        f"{curve['operations']:,}: {shares}. What kernels allocate within themselves isn't counted."
    )
    return el(
        "figure",
        el("figcaption", "Bytes of tensors alive after each operation"),
        charts.areas(curve, said),
        el("ul", [el("li", charts.owner(name)) for name in curve["owners"]], class_="keys"),
        el("p", said, class_="gloss"),
    )
