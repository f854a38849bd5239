"""Figures 2.2 to 2.5 of Kocyigit (2023), of one named seed, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from tools.spirals.points import EXTENT, MAP, REGULAR, Points, grid
from tools.spirals.training import features, probability, recorded
from tools.spirals.uncertainty import moved, spread

COLORS = ("#0072b2", "#d55e00")
"""Of the two spirals."""

_BOUNDS = (-EXTENT, EXTENT, -EXTENT, EXTENT)


def decision_maps(networks: dict[str, nn.Sequential], points: Points, folder: Path) -> None:
    """Draw the probability of the second spiral over the plane, for each of some networks: figure 2.2."""
    figure, panels = _figure(1, len(networks), 3.4, 3.6)
    for panel, (name, model) in zip(panels.flat, networks.items(), strict=True):
        _map(panel, probability(model, grid(MAP)), "PuOr_r", 0.0, 1.0)
        _draw_points(panel, points)
        panel.set_title(name)
    figure.suptitle(
        "Probability of the second spiral; labelled points filled, unlabelled hollow", fontsize=10
    )
    _save(figure, folder / "figure-2.2")


def channel_histograms(model: nn.Sequential, points: Points, channel: int, folder: Path) -> None:
    """Draw a channel behind the first three normalizations, for three sets of points: figure 2.3.

    All are normalized by the statistics of labelled and unlabelled points.
    """
    drawn = recorded(model, torch.cat([points.labelled, points.unlabelled]))
    sets = {
        "regularly spaced": grid(REGULAR),
        "labelled": points.labelled,
        "unlabelled": points.unlabelled,
    }
    values = {name: features(drawn, places) for name, places in sets.items()}
    figure, panels = _figure(3, 3, 2.6, 1.9)
    for layer in range(3):
        everything = np.concatenate([found[layer][:, channel].numpy() for found in values.values()])
        edges = np.linspace(everything.min(), everything.max(), 31)
        for column, (name, found) in enumerate(values.items()):
            panel = panels[layer, column]
            panel.hist(found[layer][:, channel].numpy(), edges, density=True, color=COLORS[0])
            if layer == 0:
                panel.set_title(f"{name} points", fontsize=10)
            if column == 0:
                panel.set_ylabel(f"layer {layer + 1}")
    figure.suptitle(f"Channel {channel} behind batch normalization: density", fontsize=10)
    _save(figure, folder / "figure-2.3")


def uncertainty_map(model: nn.Sequential, points: Points, count: int, seed: int, folder: Path) -> None:
    """Draw how the probability varies with the statistics' batch: figure 2.4."""
    figure, panels = _figure(1, 1, 4.6, 3.8)
    panel = panels.flat[0]
    shown = _map(panel, spread(model, points, grid(MAP), count, seed), "viridis", 0.0, None)
    _draw_points(panel, points)
    figure.colorbar(shown, ax=panel, label="standard deviation of the probability")
    _save(figure, folder / "figure-2.4")


def moved_points(model: nn.Sequential, points: Points, count: int, seed: int, folder: Path) -> None:
    """Draw where other statistics move the labelled points: figure 2.5."""
    places = moved(model, points, count, seed)
    figure, panels = _figure(1, 1, 4.2, 4.2)
    panel = panels.flat[0]
    for label in (0, 1):
        found = places[:, points.labels == label].reshape(-1, 2)
        panel.scatter(found[:, 0], found[:, 1], s=3, color=COLORS[label], alpha=0.25, linewidths=0)
    _draw_points(panel, points, unlabelled=False)
    panel.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), aspect="equal")
    _save(figure, folder / "figure-2.5")


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _map(panel: Axes, values: Tensor, colors: str, low: float, high: float | None) -> Any:
    return panel.imshow(
        values.view(MAP, MAP).numpy(), cmap=colors, vmin=low, vmax=high, origin="lower", extent=_BOUNDS
    )


def _draw_points(panel: Axes, points: Points, *, unlabelled: bool = True) -> None:
    for label in (0, 1):
        if unlabelled:
            hollow = points.unlabelled[points.hidden == label]
            panel.scatter(
                hollow[:, 0], hollow[:, 1], s=8, facecolors="none", edgecolors=COLORS[label], linewidths=0.5
            )
        filled = points.labelled[points.labels == label]
        panel.scatter(
            filled[:, 0], filled[:, 1], s=22, color=COLORS[label], edgecolors="white", linewidths=0.6
        )


def _save(figure: Figure, path: Path) -> None:
    for ending in ("png", "svg"):
        figure.savefig(path.with_name(f"{path.name}.{ending}"), dpi=150)
