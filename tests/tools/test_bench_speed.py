"""The speedrun's bench: the plain loop's own steps, and rows of times and accuracies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from tools.arguments import UsageError
from tools.bench.record import Images, RecordTraining, _cropped
from tools.bench.speed import SpeedBench
from trainer.models import WhitenedCNN
from trainer.optimizers.muon import Muon
from trainer.schedules import Linear

TINY = WhitenedCNN(widths=(8, 16, 16))
CPU = torch.device("cpu")


def planted(samples: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a color for each class, with noise."""
    rng = np.random.default_rng(seed)
    colors = np.random.default_rng(99).integers(40, 216, (classes, 1, 1, 3))
    labels = rng.integers(0, classes, samples)
    images = colors[labels] + rng.normal(0, 12, (samples, 32, 32, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def a_set(samples: int, seed: int) -> Images:
    images, labels = planted(samples, 10, seed)
    return Images.of(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels), CPU)


def test_the_plain_loop_learns_in_whole_batches() -> None:
    loop = RecordTraining(a_set(330, 0), TINY, 10, batch_size=64, epochs=4, seed=0)
    assert list(loop.steps()) == list(range(1, 21))
    assert loop.accuracy(a_set(100, 1)) > 0.7


def test_crops_are_windows_of_the_padded_image() -> None:
    images = torch.arange(50 * 3 * 6 * 6).view(50, 3, 6, 6).float()
    padded = F.pad(images, (2,) * 4, "reflect")
    for image, crop in zip(padded, _cropped(padded, 6, 6), strict=True):
        windows = image.unfold(1, 6, 1).unfold(2, 6, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert sum(torch.equal(window, crop) for window in windows) == 1


@pytest.fixture
def cifar(tmp_path: Path) -> Callable[[str, int], Path]:
    """Make a data directory with a set in place of a CIFAR one."""

    def make(name: str, classes: int) -> Path:
        for split, samples, seed in (("train", 256, 0), ("test", 64, 1)):
            images, labels = planted(samples, classes, seed)
            names = tuple(f"class {number}" for number in range(classes))
            path = tmp_path / name / f"{split}.beton"
            path.parent.mkdir(exist_ok=True)
            convert(ArraySource(name, split, "planted", names, labels, images), path, ConvertOptions())
        return tmp_path

    return make


def test_steps_are_compared_with_the_plain_loop_and_without_the_proxy() -> None:
    bench = SpeedBench(width=0.05, batch_size=16, repeats=1, steps=1, device="cpu", threads=1)
    rows = {row.case: row for row in bench.rows()}
    assert list(rows) == ["speed/cifar10", "speed/cifar10-selected", "speed/cifar10-96-proxy"]
    assert [row.peer for row in rows.values()] == ["plain loop", "plain loop", "without the proxy"]
    assert all(row.unit == "s" and row.ratio is not None for row in rows.values())


def test_whole_trainings_have_accuracies_in_pairs(cifar: Callable[[str, int], Path]) -> None:
    bench = SpeedBench(
        cases=("cifar10-selected",),
        selected="proxy",
        full=True,
        width=0.1,
        batch_size=32,
        epochs=2,
        repeats=2,
        device="cpu",
        threads=1,
        data_dir=cifar("cifar10", 10),
    )
    rows = {row.case.removeprefix("speed/cifar10-selected"): row for row in bench.rows()}
    assert list(rows) == ["", "/accuracy", "/accuracy-difference", "/trainings"]
    assert (rows["/trainings"].ours, rows["/trainings"].theirs) == (2, 2)
    accuracy = rows["/accuracy"]
    assert accuracy.theirs is not None
    assert rows["/accuracy-difference"].ours == pytest.approx(accuracy.ours - accuracy.theirs)
    assert 0 <= accuracy.ours <= 100


def test_rates_go_with_the_batch_as_those_of_sums_of_losses() -> None:
    run = SpeedBench(batch_size=500, epochs=2, device="cpu")._runs.plain("cifar10")
    assert isinstance(run.optimizer, Muon)
    found = run.optimizer.rest_lr, run.optimizer.norm_bias_lr, run.optimizer.weight_decay
    assert found == pytest.approx((0.67 * 500, 0.053 * 500, 2e-6 * 500))
    assert run.schedule == Linear(final=1 / 200)


def test_what_it_cannot_measure_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"cases must be of cifar10, cifar10-selected, .*; got 'svhn'"):
        SpeedBench(cases=("svhn",))
    with pytest.raises(UsageError, match="width must be above 0; got 0"):
        SpeedBench(width=0.0)
