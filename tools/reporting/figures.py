"""Plots as inline SVG, drawn by matplotlib and colored by the page's style sheet.

Only numbers and fixed words are drawn, never a string from a run folder. Colors are written as
placeholders and replaced by CSS variables, so that one drawing serves light and dark pages and print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from tools.reporting.markup import Safe, text

WIDTH, HEIGHT = 430, 270
"""Size of a plot in its own units; close to CSS pixels if two are side by side."""

SERIES = 6
"""Number of colors, after which they repeat with dashes."""

MOST_POINTS = 400
"""Maximum points per line; longer series are averaged down to these."""

INK, MUTED, RULE = "#010101", "#020202", "#030303"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "budgetrain",
    "svg.fonttype": "none",
    "path.simplify": True,
    "text.parse_math": False,
    "font.size": 12.5,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "axes.unicode_minus": True,
}
DASHES = {0: "solid", 1: (0, (5, 2)), 2: (0, (1.5, 1.5))}


@dataclass(frozen=True, slots=True)
class Line:
    """One series.

    Attributes
    ----------
    x, y
        float64[n].
    color
        Index of the line's color and dashes.
    dash
        Index of its dashes, if these are not the color's.
    low, high
        float64[n], bounds of a band around it; None for none.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    color: int
    dash: int | None = None
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


def lines(
    name: str,
    series: Iterable[Line],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    from_zero: bool = False,
    x_end: float | None = None,
) -> Safe:
    """Draw lines, with marked points if they are few.

    Parameters
    ----------
    name
        Prefix of the drawing's ids, unique on the page.
    title, description
        Text alternative.
    x_label, y_label
        Labels of the axes, with units.
    from_zero
        Whether the vertical axis begins at 0.
    x_end
        End of the horizontal axis, if not the last point's.
    """
    with _axes(x_label, y_label) as (figure, axes):
        highest = 0.0
        for line in series:
            keep = np.isfinite(line.x) & np.isfinite(line.y)
            x, y = thin(line.x[keep], MOST_POINTS), thin(line.y[keep], MOST_POINTS)
            if line.low is not None and line.high is not None:
                low, high = (thin(bound[keep], MOST_POINTS) for bound in (line.low, line.high))
                axes.fill_between(x, low, high, color=_color(line.color), alpha=0.2, linewidth=0, zorder=2)
            axes.plot(
                x,
                y,
                color=_color(line.color),
                linestyle=DASHES[(line.color // SERIES if line.dash is None else line.dash) % len(DASHES)],
                linewidth=1.8,
                marker="o",
                markersize=3.6,
                markevery=1 if len(line.x) <= 25 else [-1],
                solid_capstyle="round",
                solid_joinstyle="round",
                clip_on=False,
                zorder=3,
            )
            highest = max(highest, float(y.max(initial=0.0)))
        if from_zero and highest > 0:
            axes.set_ylim(0, 1.06 * highest)
        axes.set_xlim(0, x_end if x_end else max(axes.get_xlim()[1], 1e-9))
        return _svg(figure, name, title, description)


def band(
    name: str,
    x: NDArray[np.float64],
    middle: NDArray[np.float64],
    bounds: NDArray[np.float64],
    color: int,
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
) -> Safe:
    """Draw a line within an inner and an outer band.

    Parameters
    ----------
    x, middle
        float64[n], ascending; the line.
    bounds
        float64[n, 4]: outer low, inner low, inner high, outer high.
    """
    with _axes(x_label, y_label) as (figure, axes):
        for low, high, opacity in ((0, 3, 0.15), (1, 2, 0.3)):
            axes.fill_between(
                x,
                bounds[:, low],
                bounds[:, high],
                color=_color(color),
                alpha=opacity,
                linewidth=0,
                zorder=2,
            )
        axes.plot(x, middle, color=_color(color), linewidth=1.8, solid_capstyle="round", zorder=3)
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, float(x[-1]) if len(x) > 1 else 1.0)
        return _svg(figure, name, title, description)


def scatter(
    name: str,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
) -> Safe:
    """Draw points, float32[n] each, and the line on which both are equal."""
    with _axes(x_label, y_label) as (figure, axes):
        ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
        axes.plot(ends, ends, color=MUTED, linestyle=DASHES[1], linewidth=1.2, zorder=2)
        axes.plot(x, y, color=_color(0), linestyle="none", marker="o", markersize=3.2, alpha=0.5, zorder=3)
        return _svg(figure, name, title, description)


def histogram(
    name: str,
    counts: Sequence[tuple[int, NDArray[np.int64]]],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
) -> Safe:
    """Draw histograms of integers, (color, values) each, as outlines; a single one is filled."""
    edges = bins([values for _, values in counts])
    with _axes(x_label, y_label) as (figure, axes):
        for color, values in counts:
            heights, _ = np.histogram(values, bins=edges)
            axes.stairs(
                heights,
                edges - 0.5,
                color=_color(color),
                fill=len(counts) == 1,
                linewidth=1.8,
                linestyle=DASHES[color // SERIES % len(DASHES)],
                zorder=3,
            )
        axes.set_ylim(bottom=0)
        axes.set_xlim(edges[0] - 0.5, edges[-1] - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return _svg(figure, name, title, description)


def bins(counts: Sequence[NDArray[np.int64]], most: int = 40) -> NDArray[np.int64]:
    """Return the edges of at most ``most`` bins of equal integer width of ``counts``; the last is open."""
    low = min(int(values.min()) for values in counts)
    high = max(int(values.max()) for values in counts)
    width = -(-(high - low + 1) // most)
    return np.arange(low, high + width + 1, width, dtype=np.int64)


def thin(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Average neighbors down to at most ``most`` values, keeping the first and the last unchanged."""
    if len(values) <= most:
        return values
    inner = np.array([part.mean() for part in np.array_split(values[1:-1], most - 2)])
    return np.concatenate([values[:1], inner, values[-1:]])


def unit(highest: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest of ``units`` (size, name), ascending, of which ``highest`` holds at least two."""
    fitting = [pair for pair in units if highest >= 2 * pair[0]]
    return fitting[-1] if fitting else units[0]


def _color(index: int) -> str:
    return f"#0400{index % SERIES:02x}"


@contextmanager
def _axes(x_label: str, y_label: str) -> Iterator[tuple[Figure, Axes]]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((52 / WIDTH, 46 / HEIGHT, (WIDTH - 70) / WIDTH, (HEIGHT - 82) / HEIGHT))
        axes.patch.set_visible(False)
        figure.patch.set_visible(False)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.spines["bottom"].set_color(MUTED)
        axes.grid(axis="y", color=RULE, linewidth=1, zorder=0)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=6, labelcolor=MUTED, labelsize=12.5)
        axes.tick_params(axis="x", length=4, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.set_xlabel(x_label, color=INK, loc="right", labelpad=5)
        axes.text(
            -52 / (WIDTH - 70),
            1 + 16 / (HEIGHT - 82),
            y_label,
            color=INK,
            transform=axes.transAxes,
            va="bottom",
        )
        yield figure, axes


def tick(value: float) -> str:
    """Return a tick's label: thousands separated, no trailing zeros, small ones as powers of ten."""
    if value and abs(value) < 1e-4:
        return f"{value:.0e}"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _svg(figure: Figure, name: str, title: str, description: str) -> Safe:
    """Return the figure as SVG, without parts that inline drawings don't need."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :].rstrip()
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"<!--.*?-->", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="', f'id="{name}-', drawing)
    drawing = drawing.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    drawing = re.sub(r"#0400([0-9a-f]{2})", lambda hit: f"var(--run-{int(hit[1], 16)})", drawing)
    for placeholder, variable in ((INK, "--ink"), (MUTED, "--muted"), (RULE, "--rule")):
        drawing = drawing.replace(placeholder, f"var({variable})")
    head = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{text(title)}</title>'
        f'<desc id="{name}-description">{text(description)}</desc>'
    )
    return Safe(re.sub(r"<svg[^>]*>", lambda _: head, drawing, count=1))
