"""``trainer study spirals``: the toy of section 2.3.3 of Kocyigit (2023), trained, measured and drawn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import nn

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from tools.reporting.wording import NONE, duration
from tools.spirals import figures
from tools.spirals.measures import Distances, distances
from tools.spirals.points import Points, make_points
from tools.spirals.training import VARIANTS, Training, accuracy, features, recorded, train
from tools.studying.sheets import Figure, Sheet, comma_separated, markdown, terminal, words
from tools.studying.statistics import holm, interval, paired_t

SEEDS = 20
"""Pairs of networks, of one set of points and one initialization each."""

DRAWN = 0
"""The seed of the figures and of the printed table 2.1, fixed before any was seen."""

PRINTED = {
    "pearson": (0.092, 0.126, 0.126, 0.037),
    "kl": (0.120, 0.132, 0.129, 0.024),
    "reverse_kl": (0.068, 0.060, 0.055, 0.017),
    "wasserstein": (0.206, 0.253, 0.298, 0.153),
    "unsupervised": (0.087, 0.053, 0.044, 0.064),
}
"""Table 2.1 as published, by layer."""

_HEADINGS = {
    "pearson": "Pearson",
    "kl": "KL",
    "reverse_kl": "reverse KL",
    "wasserstein": "Wasserstein",
    "unsupervised": "unsup. Wasserstein",
    "rejected": "KS rejects",
}


@dataclass(frozen=True, slots=True)
class Results:
    """Accuracies of the networks, and distances of their features.

    Attributes
    ----------
    tested
        Accuracies on test points by variant, one per seed.
    fitted
        Accuracies on labelled points, likewise.
    layers
        Distances of the trained ubn network's four layers, for each seed.
    """

    tested: Mapping[str, Sequence[float]]
    fitted: Mapping[str, Sequence[float]]
    layers: Sequence[Sequence[Distances]]


def run(folder: Path, console: Console, *, seeds: int = SEEDS, training: Training | None = None) -> Results:
    """Train all variants under all seeds, print the tables, and write them and the figures to ``folder``."""
    training, before, threads = training or Training(), time.perf_counter(), torch.get_num_threads()
    folder.mkdir(parents=True, exist_ok=True)
    # Layers this small are slower on several threads.
    torch.set_num_threads(1)
    try:
        results = _train_all(seeds, training, folder)
    finally:
        torch.set_num_threads(threads)
    sheets = [accuracies(results), differences(results), table_2_1(results)]
    said = sentences(results)
    for sheet in sheets:
        console.print(terminal(sheet))
        console.print()
        write_whole(folder / f"{sheet.name}.csv", comma_separated(sheet).encode())
    for line in said:
        console.print(line, highlight=False)
    write_whole(folder / "spirals.md", "\n".join([*map(markdown, sheets), *said, ""]).encode())
    layers = [[asdict(layer) for layer in seed] for seed in results.layers]
    table = {
        "training": asdict(training),
        "tested": results.tested,
        "fitted": results.fitted,
        "layers": layers,
    }
    write_whole(folder / "spirals.json", (dumps(table) + "\n").encode())
    took = duration(time.perf_counter() - before)
    console.print(f"tables and figures: {folder} ({seeds} seeds, {took})", highlight=False)
    return results


def _train_all(seeds: int, training: Training, folder: Path) -> Results:
    tested: dict[str, list[float]] = {name: [] for name in VARIANTS}
    fitted: dict[str, list[float]] = {name: [] for name in VARIANTS}
    layers = []
    for seed in range(seeds):
        points = make_points(seed, training.noise)
        networks = {name: train(name, points, seed, training) for name in VARIANTS}
        for name, model in networks.items():
            tested[name].append(accuracy(model, points.tested, points.test_labels))
            fitted[name].append(accuracy(model, points.labelled, points.labels))
        layers.append(_layers(networks["ubn"], points, seed))
        if seed == DRAWN:
            _draw(networks, points, training, folder)
    return Results(tested, fitted, layers)


def _layers(model: nn.Sequential, points: Points, seed: int) -> list[Distances]:
    drawn = recorded(model, torch.cat([points.labelled, points.unlabelled]))
    rng = np.random.default_rng([21, seed])
    pairs = zip(features(drawn, points.labelled), features(drawn, points.unlabelled), strict=True)
    return [distances(ours.double().numpy(), theirs.double().numpy(), rng) for ours, theirs in pairs]


def _draw(networks: dict[str, nn.Sequential], points: Points, training: Training, folder: Path) -> None:
    ubn, further = networks["ubn"], training.further
    channel = int(np.random.default_rng(DRAWN).integers(training.width))
    figures.decision_maps({name: networks[name] for name in ("ubn", "bn")}, points, folder)
    figures.channel_histograms(ubn, points, channel, folder)
    figures.uncertainty_map(ubn, points, further, DRAWN, folder)
    figures.moved_points(ubn, points, further, DRAWN, folder)


def accuracies(results: Results) -> Sheet:
    """Return mean and standard deviation of the accuracies, in percent."""
    rows = []
    for name, meaning in VARIANTS.items():
        values, fitted = (
            [100 * value for value in found[name]] for found in (results.tested, results.fitted)
        )
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        cells = [words(name), words(meaning), Figure(f"{mean:.1f} ± {deviation:.1f}", mean)]
        rows.append((*cells, Figure(f"{statistics.fmean(fitted):.1f}", statistics.fmean(fitted))))
    count = len(results.tested["bn"])
    caption = (
        f"Accuracy on test points by the moving averages, in percent: mean and deviation of {count} seeds"
    )
    columns = ("variant", "statistics in training", "test", "labelled points")
    return Sheet("accuracies", caption, columns, tuple(rows), texts=2)


def compared(results: Results) -> dict[str, tuple[float, float, float, float | None]]:
    """Return each variant's mean difference from bn in points, its interval, and the adjusted p-value."""
    names = [name for name in VARIANTS if name != "bn"]
    gains = {
        name: [
            100 * (one - other) for one, other in zip(results.tested[name], results.tested["bn"], strict=True)
        ]
        for name in names
    }
    p = {name: value for name in names if (value := paired_t(gains[name])) is not None}
    adjusted = dict(zip(p, holm(list(p.values()), len(names)), strict=True))
    found = {}
    for name in names:
        bounds = interval(gains[name])
        assert bounds is not None
        found[name] = (bounds.mean, bounds.low, bounds.high, adjusted.get(name))
    return found


def differences(results: Results) -> Sheet:
    """Return the paired differences from bn."""
    rows = []
    for name, (mean, low, high, p) in compared(results).items():
        bold = p is not None and p < 0.05
        shown = NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
        cells = [words(name), Figure(f"{mean:+.1f}", mean, bold), Figure(f"{low:+.1f} to {high:+.1f}")]
        rows.append((*cells, Figure(shown, p)))
    caption = (
        "Paired differences from bn in points, 95% interval, and p by the paired t-test, adjusted for "
        f"{len(rows)} comparisons (Holm 1979); bold below 0.05"
    )
    return Sheet("differences", caption, ("variant", "difference", "interval", "p"), tuple(rows))


def table_2_1(results: Results) -> Sheet:
    """Return table 2.1: means over seeds, and the printed values."""
    rows = []
    for layer in range(4):
        cells = [words(str(layer + 1))]
        for item in fields(Distances):
            mean = _mean(results, layer, item.name)
            printed = f" ({PRINTED[item.name][layer]:.3f})" if item.name in PRINTED else ""
            shown = f"{mean:.0%}" if item.name == "rejected" else f"{mean:.3f}{printed}"
            cells.append(Figure(shown, mean))
        rows.append(tuple(cells))
    caption = (
        "Table 2.1: features of labelled and unlabelled points behind each normalization of the ubn network, "
        f"mean over channels and {len(results.layers)} seeds (published value)"
    )
    columns = ("layer", *(_HEADINGS[item.name] for item in fields(Distances)))
    return Sheet("table-2.1", caption, columns, tuple(rows))


def sentences(results: Results) -> list[str]:
    """Return whether the paper's claims held here, one sentence each."""
    mean, low, high, p = compared(results)["ubn"]
    verdict = "did not differ significantly from bn" if p is None or p >= 0.05 else "differed from bn"
    ratios = [
        _mean(results, layer, "wasserstein") / _mean(results, layer, "unsupervised") for layer in range(4)
    ]
    below = sum(_mean(results, layer, "reverse_kl") < _mean(results, layer, "kl") for layer in range(4))
    rejected = [_mean(results, layer, "rejected") for layer in (1, 2)]
    return [
        f"Accuracy: ubn {verdict}, by {mean:+.1f} points (95% interval {low:+.1f} to {high:+.1f}, "
        f"n = {len(results.tested['bn'])} paired seeds; published: better, without figures).",
        "Wasserstein-1 distance of labelled from unlabelled features, as a multiple of that between parts of "
        f"the unlabelled ones: {min(ratios):.2f} to {max(ratios):.2f}, by layer (published: 2.4 to 6.8).",
        f"Reverse KL is below KL in {below} of 4 layers (published: 4).",
        f"The Kolmogorov-Smirnov test rejects {rejected[0]:.0%} and {rejected[1]:.0%} of the channels of "
        "layers 2 and 3 (published: 15%; by chance 5%).",
    ]


def _mean(results: Results, layer: int, name: str) -> float:
    return statistics.fmean(getattr(seed[layer], name) for seed in results.layers)
