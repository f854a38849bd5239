"""The toy of unsupervised batch normalization: points, training, measures, tables and figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from tools.spirals.measures import Distances, divergence, kolmogorov_smirnov, wasserstein
from tools.spirals.points import grid, make_points, spirals
from tools.spirals.study import Results, run, sentences
from tools.spirals.training import VARIANTS, Training, features, network, recalibrate, recorded, train
from tools.spirals.uncertainty import moved, spread
from tools.study import Study
from trainer.errors import RunError
from trainer.methods.unsupervised_norm import convert, given_statistics

SHORT = Training(width=8, steps=12, further=50)


def test_points_lie_where_the_playground_has_them() -> None:
    places, labels = spirals(4, 0.0, np.random.default_rng(0))
    assert labels.tolist() == [0] * 4 + [1] * 4
    # Point 2 of 4: radius 2.5, angle 1.75 pi; half a turn further in the other spiral.
    expected = 2.5 * np.array([math.sin(1.75 * math.pi), math.cos(1.75 * math.pi)])
    np.testing.assert_allclose(places[2], expected)
    np.testing.assert_allclose(places[6], -expected)
    noisy, _ = spirals(4, 0.5, np.random.default_rng(0))
    assert 0 < abs(noisy - places).max() <= 0.5


def test_a_seed_has_25_labels_of_each_spiral_and_the_rest_without() -> None:
    points = make_points(3)
    assert torch.bincount(points.labels).tolist() == [25, 25]
    assert torch.bincount(points.hidden).tolist() == [200, 200]
    together = {tuple(place) for place in torch.cat([points.labelled, points.unlabelled]).tolist()}
    # Both spirals begin at the origin.
    assert len(together) == 449
    assert torch.equal(make_points(3).labelled, points.labelled)
    assert not torch.equal(make_points(4).labelled, points.labelled)


def value(model: nn.Module, name: str) -> Tensor:
    found = model.state_dict()[name]
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_train_and_are_repeatable(variant: str) -> None:
    points = make_points(0)
    one, other = (train(variant, points, 0, SHORT) for _ in range(2))
    assert not one.training
    assert all(torch.equal(value(one, name), value(other, name)) for name in other.state_dict())
    begun = network(SHORT.width)
    assert not torch.equal(value(begun, "0.weight"), value(one, "0.weight"))


def test_variants_are_paired_by_weights_and_differ_by_their_statistics() -> None:
    points, still = make_points(0), Training(width=8, steps=1, lr=0.0)
    averages = {name: value(train(name, points, 0, still), "1.running_mean") for name in VARIANTS}
    weights = [value(train(name, points, 0, still), "0.weight") for name in VARIANTS]
    assert all(torch.equal(weights[0], other) for other in weights)
    torch.testing.assert_close(averages["ubn"], averages["ubn_joint"])
    assert not torch.allclose(averages["ubn"], averages["ubn_unlabelled"])
    assert not torch.allclose(averages["ubn"], averages["bn"])


def test_recalibration_takes_the_statistics_of_one_pass() -> None:
    model, places = convert(network(8)), grid(9)
    recalibrate(model, places)
    torch.testing.assert_close(model[1].running_mean, model[0](places).mean(dim=0))
    torch.testing.assert_close(model[1].running_var, model[0](places).var(dim=0))
    assert model[1].momentum == 0.1


def test_features_are_normalized_by_what_was_recorded() -> None:
    places = grid(9)
    found = features(recorded(convert(network(8)), places), places)
    assert len(found) == 4
    for values in found:
        torch.testing.assert_close(values.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)


def test_distances_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=40), rng.normal(0.5, 2, size=60)
    # By quantiles: 120 pieces hold whole parts of both.
    pieces = np.sort(np.repeat(one, 3)) - np.sort(np.repeat(other, 2))
    assert wasserstein(one, other) == pytest.approx(np.abs(pieces).mean())
    assert wasserstein(one, one + 3) == pytest.approx(3)
    assert divergence(one, one) == 0
    assert divergence(one, other) > 0
    two = np.array([0.0] * 3 + [1.0]), np.array([0.0, 1.0])
    p, q = (np.array([count + 1.0, *[1.0] * 18, 5 - count]) for count in (3, 0))
    p[-1], q = 2.0, np.array([2.0, *[1.0] * 18, 2.0])
    p, q = p / p.sum(), q / q.sum()
    assert divergence(*two) == pytest.approx(float((p * np.log(p / q)).sum()))


def test_the_kolmogorov_smirnov_test_rejects_as_often_as_it_should() -> None:
    rng = np.random.default_rng(1)
    alike = [kolmogorov_smirnov(rng.normal(size=50), rng.normal(size=400)) < 0.05 for _ in range(600)]
    apart = [kolmogorov_smirnov(rng.normal(size=50), rng.normal(0.8, 1, size=400)) < 0.05 for _ in range(50)]
    assert 0.025 < np.mean(alike) < 0.075
    assert np.mean(apart) > 0.95
    assert kolmogorov_smirnov(np.arange(50.0), np.arange(50.0)) == 1


def test_outputs_vary_with_the_statistics_and_points_are_moved_to_the_same_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tools.spirals.uncertainty.DRAWS", 3)
    points = make_points(0)
    model = train("ubn", points, 0, SHORT)
    assert (spread(model, points, points.labelled, 20, 0) > 0).all()
    # Of all unlabelled points there is one draw alone.
    assert spread(model, points, points.labelled, 400, 0).max() < 1e-5
    places = moved(model, points, 400, 0)
    assert places.shape == (3, 50, 2)
    torch.testing.assert_close(places, points.labelled.expand(3, 50, 2), atol=1e-3, rtol=0)
    elsewhere = moved(model, points, 20, 0)
    first = recorded(model, torch.cat([points.labelled, points.unlabelled]))
    assert (elsewhere - points.labelled).abs().max() > 0.01
    with given_statistics(first):
        assert first(points.labelled).shape == (50, 2)


def test_the_command_writes_tables_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.spirals.uncertainty.DRAWS", 2)
    results = run(tmp_path, Console(quiet=True), seeds=2, training=SHORT)
    for number in (2, 3, 4, 5):
        with Image.open(tmp_path / f"figure-2.{number}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5
        assert (tmp_path / f"figure-2.{number}.svg").read_text().startswith("<?xml")
    text = (tmp_path / "spirals.md").read_text()
    assert all(line in text for line in sentences(results))
    assert "| ubn |" in text
    kept = json.loads((tmp_path / "spirals.json").read_text())
    assert kept["tested"]["ubn"] == list(results.tested["ubn"])
    assert len((tmp_path / "table-2.1.csv").read_text().splitlines()) == 5


def test_sentences_say_no_more_than_the_figures() -> None:
    apart = {name: [0.8, 0.81, 0.79] for name in VARIANTS} | {"ubn": [0.9, 0.91, 0.9]}
    alike = {name: [0.8, 0.81, 0.79] for name in VARIANTS} | {"ubn": [0.79, 0.82, 0.8]}
    layers = [[Distances(0, 0.2, 0.1, 0.3, 0.1, 0.05)] * 4] * 3
    assert "ubn differed from bn, by +10.3 points" in sentences(Results(apart, apart, layers))[0]
    assert "did not differ significantly from bn" in sentences(Results(alike, alike, layers))[0]


def test_options_of_grids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="takes --out and --runs-dir alone; got --jobs"):
        Study("spirals", jobs=2, runs_dir=tmp_path).execute(Console(quiet=True))
