"""Multi-label classification, regression and imbalanced classes, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from pipeline.targets import TargetKind, TargetSpec
from trainer import RunFolder
from trainer.errors import RunError
from trainer.loop import train
from trainer.methods import MethodConfig, Supervised
from trainer.methods.balanced import Balanced
from trainer.methods.multi_label import MultiLabel
from trainer.methods.regression import Regression
from trainer.parallel import World
from trainer.recipe import from_table
from trainer.settings.fitting import outputs
from trainer.watch import Silent


def test_binary_cross_entropy_is_the_mean_over_labels() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
    labels = torch.tensor([[[1, 0, 1]]], dtype=torch.uint8)
    by_hand = sum(math.log1p(math.exp(x)) for x in (-2.0, -1.0, -0.5)) / 3
    (loss,) = MultiLabel().build(nn.Identity()).losses(logits, labels).loss.flatten().tolist()
    assert loss == pytest.approx(by_hand, rel=1e-12)


def test_each_constituent_has_the_loss_of_its_own_labels() -> None:
    logits = torch.randn(4, 3)
    labels = torch.randint(0, 2, (4, 2, 3), dtype=torch.uint8)
    losses = MultiLabel().build(nn.Identity()).losses(logits, labels).loss
    assert losses.shape == (4, 2)
    for k in range(2):
        expected = F.binary_cross_entropy_with_logits(logits, labels[:, k].float(), reduction="none").mean(1)
        torch.testing.assert_close(losses[:, k], expected)


@pytest.mark.parametrize(
    ("positive", "negative", "margin"), [(0, 4, 0.05), (1, 4, 0.05), (0, 0, 0), (1, 2, 0.2)]
)
def test_asymmetric_loss_by_hand(positive: float, negative: float, margin: float) -> None:
    """Ridnik et al. (2021), eqs. 4 to 7."""
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)
    config = MultiLabel("asymmetric", positive, negative, margin)
    p = 1 / (1 + torch.exp(-x))
    shifted = (p - margin).clamp(min=0)
    torch.testing.assert_close(config.loss_of(x, torch.ones_like(x)), -((1 - p) ** positive) * p.log())
    torch.testing.assert_close(
        config.loss_of(x, torch.zeros_like(x)), -(shifted**negative) * torch.log(1 - shifted)
    )


def test_asymmetric_loss_without_focus_and_margin_is_binary_cross_entropy() -> None:
    x, y = torch.randn(50, dtype=torch.float64), torch.randint(0, 2, (50,)).double()
    torch.testing.assert_close(
        MultiLabel("asymmetric", 0, 0, 0).loss_of(x, y), MultiLabel("bce").loss_of(x, y)
    )


def test_gradients_of_certain_outputs_are_finite() -> None:
    for config in (MultiLabel("asymmetric"), MultiLabel("asymmetric", 0.5, 0.5, 0), MultiLabel("bce")):
        x = torch.tensor([-200.0, -20, 20, 200], requires_grad=True)
        for y in (torch.zeros(4), torch.ones(4)):
            config.loss_of(x, y).sum().backward()
            assert x.grad is not None
            assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", ["squared", "absolute", "huber"])
def test_regression_by_hand(name: str) -> None:
    config = Regression(name, delta=2.0)  # type: ignore[arg-type]
    predicted, values = torch.tensor([[1.0, -2.0]]), torch.tensor([[[0.5, 3.0]]])
    by_hand = {
        "squared": (0.25 + 25) / 2,
        "absolute": (0.5 + 5) / 2,
        "huber": (0.125 + 2 * (5 - 1)) / 2,
    }
    losses = config.build(nn.Identity()).losses(predicted, values)
    assert losses.loss.tolist() == [[by_hand[name]]]
    assert losses.p_true is None


def test_one_value_per_image_needs_no_second_axis() -> None:
    losses = (
        Regression().build(nn.Identity()).losses(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
    )
    assert losses.loss.tolist() == [[0.0], [4.0]]


def test_adjusted_logits_by_hand() -> None:
    """Menon et al. (2021), eq. 10: log(1 + sum over others of (pi_c / pi_y)^tau exp(f_c - f_y))."""
    method = Balanced(strength=0.7).build(nn.Identity())
    method.begin((80, 15, 5))
    f, pi = torch.tensor([[1.0, 0.2, -0.5]], dtype=torch.float64), (0.8, 0.15, 0.05)
    method = method.double()
    for y in range(3):
        others = sum((pi[c] / pi[y]) ** 0.7 * math.exp(f[0, c] - f[0, y]) for c in range(3) if c != y)
        (loss,) = method.losses(f, torch.tensor([[y]])).loss.flatten().tolist()
        assert loss == pytest.approx(math.log1p(others), rel=1e-6)


def test_weights_of_classes_have_mean_one_over_the_samples() -> None:
    counts = torch.tensor([80, 15, 5])
    plain, balanced = Supervised().build(nn.Identity()), Balanced(by="weights").build(nn.Identity())
    balanced.begin(counts.tolist())
    f, labels = torch.randn(3, 3), torch.arange(3)[:, None]
    weights = (balanced.losses(f, labels).loss / plain.losses(f, labels).loss).flatten()
    torch.testing.assert_close(weights * counts / counts.sum(), torch.full((3,), 1 / 3))
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("by", ["logits", "weights"])
def test_without_strength_or_imbalance_it_is_plain_cross_entropy(by: str) -> None:
    f, labels = torch.randn(5, 4), torch.randint(0, 4, (5, 2))
    expected = Supervised().build(nn.Identity()).losses(f, labels)
    for strength, counts in ((0.0, (9, 1, 1, 1)), (1.0, (7, 7, 7, 7))):
        method = Balanced(by, strength).build(nn.Identity())  # type: ignore[arg-type]
        method.begin(counts)
        found = method.losses(f, labels)
        torch.testing.assert_close(found.loss, expected.loss)
        assert found.p_true is not None
        torch.testing.assert_close(found.p_true, expected.p_true)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: MultiLabel(margin=1), "margin must be at least 0 and below 1; got 1"),
        (lambda: MultiLabel(gamma_negative=-1), "gamma_negative must be at least 0 and finite; got -1"),
        (lambda: Regression(delta=0), "delta must be above 0 and finite; got 0"),
        (lambda: Balanced(strength=math.inf), "strength must be at least 0 and finite; got inf"),
    ],
)
def test_options_are_checked(make: type, line: str) -> None:
    with pytest.raises(RunError, match=line):
        make()


@pytest.mark.parametrize(
    ("config", "spec", "count"),
    [
        (Supervised(), TargetSpec("class", ("a", "b")), 2),
        (MultiLabel(), TargetSpec("multi_label", ("a", "b", "c")), 3),
        (Regression(), TargetSpec("value"), 1),
        (Regression(), TargetSpec("value", columns=4), 4),
        (Supervised(), TargetSpec("none"), 0),
    ],
)
def test_outputs_are_those_that_targets_ask_for(config: MethodConfig, spec: TargetSpec, count: int) -> None:
    assert outputs(config, spec) == count


def made(folder: Path, kind: TargetKind) -> Path:
    """Make a set whose targets can be read from the images' colors."""
    rng = np.random.default_rng(0)
    for split, samples in (("train", 64), ("test", 32)):
        means = rng.integers(20, 236, (samples, 1, 1, 3))
        images = np.clip(means + rng.integers(-20, 20, (samples, 8, 8, 3)), 0, 255).astype(np.uint8)
        colors, names = means[:, 0, 0] / 128 - 1, ()
        values = colors.astype(np.float32)
        if kind == "multi_label":
            values, names = (colors > 0).astype(np.uint8), ("red", "green", "blue")  # type: ignore[assignment]
        source = ArraySource("colors", split, "drawn", names, values, images, kind=kind)
        convert(source, folder / f"{split}.beton", ConvertOptions())
    return folder / "train.beton"


@pytest.mark.parametrize(
    ("kind", "name", "metric", "least", "most"),
    [
        ("multi_label", "multi_label", "mean_average_precision", 0.9, 1.0),
        ("value", "regression", "mean_absolute_error", 0.0, 0.35),
    ],
)
def test_a_run_learns_them(
    tmp_path: Path, kind: TargetKind, name: str, metric: str, least: float, most: float
) -> None:
    """In float64: 80 steps of 16, where guessing gives a precision of .5 and an error of .42."""
    table = {
        "data": str(made(tmp_path, kind)),
        "method": name,
        "evaluator": [name],
        "model": {"name": "resnet8", "width": 4},
        "augment": ["none"],
        "epochs": 20,
        "budget": 1.0,
        "batch_size": 16,
        "evaluate_every": 20,
        "device": "cpu",
        "precision": "fp64",
        "runs_dir": str(tmp_path / "runs"),
    }
    run = from_table(table, where="test")
    with train(run, RunFolder(tmp_path / "runs" / "x", run), World(), Silent()) as session:
        assert session.run.metric.name == metric
        assert least <= session.evaluate()[metric] <= most


def test_a_method_for_other_targets_is_refused(tmp_path: Path) -> None:
    run = from_table({"data": str(made(tmp_path, "value")), "batch_size": 16, "device": "cpu"}, where="test")
    with pytest.raises(
        RunError, match=r"learns targets of kind class, .* take --method regression"
    ) as refused:
        train(run, RunFolder(tmp_path / "x", run), World(), Silent())
    assert "\n" not in str(refused.value)
