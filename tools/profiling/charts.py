"""Drawings of a profile, as inline SVG with text alternatives: lanes of spans, bars, and a roofline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tools.reporting.markup import Child, Safe, el, join
from tools.reporting.wording import SPACE, plain

LANES = {"host": "host", "device": "device", "loader": "loader"}
"""Lanes in their order, and what they are called."""

STAGES = {
    "read": "reading and decoding a batch",
    "draw": "drawing its random parameters",
    "place": "putting it together, on the device",
}
"""Work of a loader, by the names of its spans."""

_WIDTH, _LEFT, _LANE, _GAP = 1000, 80, 34, 14
_AXIS = 26
_NARROWEST = 0.6
"""Width in pixels below which a span isn't drawn."""


def milliseconds(seconds: float) -> str:
    """Return a time per step with three digits at least.

    >>> milliseconds(0.0123).replace(SPACE, " "), milliseconds(4.1234).replace(SPACE, " ")
    ('12.3 ms', '4,123 ms')
    """
    return f"{plain(1e3 * seconds)}{SPACE}ms"


def quantity(value: float, unit: str) -> str:
    """Return a quantity with three digits and the unit's prefix.

    >>> quantity(2.5e9, "FLOP/s").replace(SPACE, " ")
    '2.5 GFLOP/s'
    """
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{plain(value / size)}{SPACE}{prefix}{unit}"
    return f"{plain(value)}{SPACE}{unit}"


def kind(name: str) -> str:
    """Return the class of a span's color."""
    return f"stage-{name}" if name in STAGES else f"phase-{name}"


def timeline(spans: Sequence[Sequence[Any]]) -> Safe:
    """Draw spans, each lane, name, begin, end and number, as lanes over time; waits are hatched."""
    lanes = [lane for lane in LANES if any(span[0] == lane for span in spans)]
    end = max(span[3] for span in spans)
    scale = (_WIDTH - _LEFT) / end
    drawn: list[Child] = [_hatching()]
    totals: dict[tuple[str, str], float] = {}
    for lane, name, begin, until, number in spans:
        if lane not in lanes:
            continue
        totals[lane, name] = totals.get((lane, name), 0.0) + until - begin
        width = scale * (until - begin)
        if width < _NARROWEST:
            continue
        y = lanes.index(lane) * (_LANE + _GAP)
        step = "" if number is None else f" of {'batch' if lane == 'loader' else 'step'} {number}"
        place = {"x": f"{_LEFT + scale * begin:.1f}", "y": str(y), "width": f"{width:.1f}"}
        hover = el("title", f"{name}{step}: {milliseconds(until - begin)}")
        drawn.append(el("rect", hover, **place, height=str(_LANE), class_=f"span {kind(name)}"))
        if name == "wait":
            drawn.append(el("rect", **place, height=str(_LANE), class_="hatched"))
    below = len(lanes) * (_LANE + _GAP)
    for index, lane in enumerate(lanes):
        middle = index * (_LANE + _GAP) + 0.62 * _LANE
        drawn.append(el("text", LANES[lane], x="0", y=f"{middle:.0f}", class_="lane"))
    drawn += _axis(end, scale, below)
    told = ", ".join(f"{lane} {name} {milliseconds(seconds)}" for (lane, name), seconds in totals.items())
    height = below + _AXIS
    return el(
        "svg",
        drawn,
        viewBox=f"0 0 {_WIDTH} {height}",
        class_="timeline",
        role="img",
        aria_label=f"Lanes over {milliseconds(end)}: {told}",
    )


def _hatching() -> Safe:
    line = el("line", x1="0", y1="0", x2="0", y2="6", class_="hatch")
    pattern = el(
        "pattern",
        line,
        id="hatching",
        width="6",
        height="6",
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    return el("defs", pattern)


def _axis(end: float, scale: float, y: int) -> list[Child]:
    step = _nice(end / 6)
    marks: list[Child] = [el("line", x1=str(_LEFT), x2=str(_WIDTH), y1=str(y), y2=str(y), class_="rule")]
    for index in range(int(end / step) + 1):
        x = f"{_LEFT + scale * index * step:.1f}"
        marks.append(el("line", x1=x, x2=x, y1=str(y), y2=str(y + 4), class_="rule"))
        last = _LEFT + scale * index * step > _WIDTH - 30
        anchor = "end" if last else "middle"
        label = f"{1e3 * index * step:,.6g}" + (f"{SPACE}ms" if index == 0 else "")
        marks.append(el("text", label, x=x, y=str(y + 20), text_anchor=anchor, class_="tick"))
    return marks


def _nice(least: float) -> float:
    """Return the least number of the form 1, 2 or 5 times a power of ten from ``least`` on."""
    power = 10 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def key(name: str, meaning: str) -> Safe:
    """Return a span's color with its name and meaning."""
    color = el("span", "", class_=f"key {kind(name)}")
    return join(color, name, " ", el("span", meaning, class_="gloss"))


def bar(fraction: float, class_: str, spoken: str, mark: float | None = None) -> Safe:
    """Draw a bar of a fraction of the width, with a vertical mark at another."""
    drawn: list[Child] = [
        el("rect", x="0", y="15%", width=f"{100 * min(1.0, fraction):.2f}%", height="70%", class_=class_)
    ]
    if mark is not None:
        at = f"{100 * mark:.2f}%"
        drawn.append(el("line", x1=at, x2=at, y1="0", y2="100%", class_="mark"))
    return el("svg", drawn, class_="bar", role="img", aria_label=spoken)


OWNERS = ("weights", "gradients", "optimizer", "activations", "batches", "sampler", "data set", "temporary")
"""Owners of memory, by the number of their color."""


def owner(name: str) -> Safe:
    """Return an owner's color with its name."""
    return join(el("span", "", class_=f"key owner-{OWNERS.index(name)}"), name)


def stack(parts: Mapping[str, float], spoken: str) -> Safe:
    """Draw the bytes of owners, by name, as one stacked bar over the whole width."""
    whole: float = sum(parts.values()) or 1.0
    left, drawn = 0.0, []
    for name, value in parts.items():
        width = 100 * value / whole
        place = {"x": f"{left:.3f}%", "width": f"{width:.3f}%"}
        drawn.append(
            el("rect", el("title", name), **place, y="0", height="100%", class_=f"owner-{OWNERS.index(name)}")
        )
        left += width
    return el("svg", drawn, class_="stack", role="img", aria_label=spoken)


_AREA = (540, 280)
_AREA_PAD = (64, 4, 30, 24)
"""Left, right, below, above."""


def areas(curve: Mapping[str, Any], spoken: str) -> Safe:
    """Draw the bytes of owners over the operations of a step, one above the other, with its phases' names."""
    width, height = _AREA
    left, right, below, above = _AREA_PAD
    owners, last = curve["owners"], max(1, curve["operations"])
    total = [sum(values) for values in zip(*owners.values(), strict=True)]
    most = max(max(total), 1)

    def x(operation: float) -> str:
        return f"{left + (width - left - right) * operation / last:.1f}"

    def y(value: float) -> str:
        return f"{above + (height - above - below) * (1 - value / most):.1f}"

    drawn: list[Child] = []
    lower = [0] * len(total)
    for name, values in owners.items():
        upper = [one + other for one, other in zip(lower, values, strict=True)]
        there = [f"{x(at)},{y(value)}" for at, value in zip(curve["at"], upper, strict=True)]
        back = [f"{x(at)},{y(value)}" for at, value in zip(curve["at"], lower, strict=True)]
        points = " ".join([*there, *reversed(back)])
        drawn.append(
            el("polygon", el("title", name), points=points, class_=f"area owner-{OWNERS.index(name)}")
        )
        lower = upper
    step = _nice(most / 4)
    for index in range(int(most / step) + 1):
        at = y(index * step)
        drawn.append(el("line", x1=str(left), x2=str(width - right), y1=at, y2=at, class_="rule"))
        label = quantity(index * step, "B") if index else "0"
        drawn.append(el("text", label, x=str(left - 8), y=at, text_anchor="end", dy="0.35em", class_="tick"))
    ends = [first for _, first in curve["phases"][1:]] + [last]
    for (name, first), end in zip(curve["phases"], ends, strict=True):
        at, bottom = x(first), str(height - below)
        drawn.append(el("line", x1=at, x2=at, y1=str(above - 14), y2=bottom, class_="bound"))
        if (end - first) / last > 0.13:
            drawn.append(el("text", name, x=at, dx="4", y=str(above - 6), class_="tick"))
    under = str(height - 6)
    drawn.append(el("text", "0", x=str(left), y=under, class_="tick"))
    drawn.append(
        el("text", f"{last:,} operations", x=str(width - right), y=under, text_anchor="end", class_="tick")
    )
    return el("svg", drawn, viewBox=f"0 0 {width} {height}", class_="areas", role="img", aria_label=spoken)


_X, _Y = (0.01, 10_000.0), 5.0
_ROOF = (460, 280)
_PAD = (64, 12, 40, 14)
"""Left, right, below, above."""


def roofline(intensity: float, rate: float, peak: float, bandwidth: float, spoken: str) -> Safe:
    """Draw operations per second against operations per byte, below what the device can do.

    Parameters
    ----------
    intensity, rate
        Of the run: FLOPs per byte, FLOP/s.
    peak, bandwidth
        Of the device: FLOP/s, bytes/s.
    """
    width, height = _ROOF
    left, right, below, above = _PAD
    low, high = (math.log10(value) for value in _X)
    top = math.log10(peak) + 0.3
    bottom = min(math.log10(max(rate, 1.0)) - 0.5, top - _Y)

    def x(value: float) -> float:
        part = (math.log10(value) - low) / (high - low)
        return left + (width - left - right) * min(1.0, max(0.0, part))

    def y(value: float) -> float:
        part = (math.log10(max(value, 1e-9)) - bottom) / (top - bottom)
        return above + (height - above - below) * (1 - min(1.0, max(0.0, part)))

    ridge = peak / bandwidth
    start = max(_X[0], 10**bottom / bandwidth)
    corners = [(start, start * bandwidth), (ridge, peak), (_X[1], peak)]
    points = " ".join(f"{x(one):.1f},{y(other):.1f}" for one, other in corners)
    drawn: list[Child] = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = f"{x(10.0**power):.1f}"
        drawn.append(el("line", x1=at, x2=at, y1=str(above), y2=str(height - below), class_="rule"))
        drawn.append(
            el("text", f"{10.0**power:g}", x=at, y=str(height - 22), text_anchor="middle", class_="tick")
        )
    for power in range(math.ceil(bottom), math.floor(top) + 1):
        at = f"{y(10.0**power):.1f}"
        drawn.append(el("line", x1=str(left), x2=str(width - right), y1=at, y2=at, class_="rule"))
        label = quantity(10.0**power, "FLOP/s")
        drawn.append(el("text", label, x=str(left - 8), y=at, text_anchor="end", dy="0.35em", class_="tick"))
    drawn.append(
        el(
            "text",
            "FLOPs per byte",
            x=str(width - right),
            y=str(height - 4),
            text_anchor="end",
            class_="label",
        )
    )
    drawn.append(el("polyline", points=points, class_="roof"))
    drawn.append(el("circle", cx=f"{x(intensity):.1f}", cy=f"{y(rate):.1f}", r="6", class_="point"))
    return el("svg", drawn, viewBox=f"0 0 {width} {height}", class_="roofline", role="img", aria_label=spoken)
