"""``trainer score`` by the metrics of sample_importance: files, costs, and what draws by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samplers import Scores
from tools.cli import main
from tools.score import Score
from tools.score_options import ScoreOptions
from trainer.build import build
from trainer.data import open_data
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.parallel import World
from trainer.recipe import load
from trainer.run_folder import RunFolder
from trainer.scores.examples import last_errors
from trainer.state import resume


@pytest.fixture
def small(fashion: Path, tmp_path: Path) -> list[str]:
    places = ["--data-dir", str(fashion), "--runs-dir", str(tmp_path / "runs"), "--device", "cpu"]
    return [*places, "--batch-size", "64", "--model.width", "4", "--precision", "fp32"]


def test_weights_of_several_seeds_are_written_each_and_averaged_and_drawn_by(
    tmp_path: Path, small: list[str]
) -> None:
    out = tmp_path / "w.npz"
    words = ["score", "fashion_mnist_cpu", "--metric", "p", "--networks", "2", "--after", "1", "--each"]
    assert main([*words, "--out", str(out), *small]) == 0
    each = [Scores.load(tmp_path / f"w-s{seed}.npz", 1280) for seed in (0, 1)]
    mean = Scores.load(out, 1280)
    # The mean of the weights, as the sampler's gamma of .5 makes them of the file.
    weights = [np.sqrt(one.scores.astype(float)) for one in each]
    np.testing.assert_allclose(np.sqrt(mean.scores), np.mean(weights, axis=0), rtol=1e-5)
    assert [one.metadata["seed"] for one in each] == [0, 1]
    assert [one.metadata["trained"] for one in (*each, mean)] == [1280, 1280, 2560]
    assert (mean.metadata["scored"], mean.metadata["networks"], mean.metadata["gamma"]) == (0, 2, 0.5)
    # What the sampler itself would have heard last in that epoch.
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if "-s0-" in path.name)
    run = load(str(folder / "run.toml"))
    data = open_data(run, World(), lambda *_: None)
    session = build(run, RunFolder(folder, run), data, World(), choose_device("cpu", World()))
    assert resume(session)
    np.testing.assert_array_equal(last_errors(session), each[0].scores)
    np.testing.assert_allclose(1 - each[0].scores, session.samples.probability, rtol=1e-5)  # of one epoch
    session.close()
    sampler = ["--sampler", "sample_importance", "--sampler.scores", str(out), "--sampler.epochs", "0.5"]
    assert main(["run", "fashion_mnist_cpu", "--epochs", "1", "--budget", "1", *sampler, *small]) == 0


def test_gradients_are_scored_and_charged(tmp_path: Path, small: list[str]) -> None:
    out = tmp_path / "g.npz"
    assert (
        main(
            ["score", "fashion_mnist_cpu", "--metric", "gradient", "--after", "1", "--out", str(out), *small]
        )
        == 0
    )
    told = Scores.load(out, 1280)
    assert (told.scores > 0).all()
    about = told.metadata
    assert (about["trained"], about["scored"], about["gradients"], about["compute"]) == (1280, 0, 1280, 2560)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"metric": "k_center", "each": True},
            "--each goes with el2n, p, gradient, forgetting, aum, dual, tdds; k_center is of",
        ),
        ({"metric": "p", "gamma": 0.0}, "gamma must be above 0 and finite"),
        ({"runs": (Path("a"),), "networks": 3}, "--runs names the networks; leave --networks out"),
        ({"networks": 0}, "networks must be at least 1; got 0"),
        ({"after": 0.0}, "after must be above 0 epochs; got 0"),
        (
            {"metric": "dual", "runs": (Path("a"),)},
            "dual is measured while a network trains; leave --runs out",
        ),
        (
            {"metric": "dual", "after": 9.0},
            "dual is of windows of 10 epochs; got 9 of training: raise --after",
        ),
        ({"metric": "dual", "window": 1}, "window must be at least 2 epochs for dual; got 1"),
        ({"metric": "tdds", "window": 2}, "window must be at least 3 epochs for tdds; got 2"),
        ({"window": 5}, "--window goes with dual, tdds; el2n has no windows: leave it out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(RunError, match=message):
        ScoreOptions(**options)


@pytest.mark.parametrize(("metric", "choice"), [("aum", "ccs"), ("dual", "dual"), ("tdds", "rank")])
def test_scores_by_the_course_of_training_choose_a_subset(
    tmp_path: Path, small: list[str], metric: str, choice: str
) -> None:
    out = tmp_path / "scores.npz"
    words = ["score", "fashion_mnist_cpu", "--metric", metric, "--after", "3", "--out", str(out), *small]
    words += [] if metric == "aum" else ["--window", "3"]
    assert main(words) == 0
    told = Scores.load(out, 1280)
    assert (told.p_true is not None) == (metric == "dual")
    assert [told.metadata[name] for name in ("trained", "scored", "networks")] == [3840, 3840, 1]
    # A stopped scoring goes on from what it has looked at; a finished one is not made again.
    before = out.read_bytes()
    assert main(words) == 0
    assert out.read_bytes() == before
    subset = ["--sampler", "subset", "--sampler.scores", str(out), "--sampler.choice", choice]
    run = ["run", "fashion_mnist_cpu", "--epochs", "2", "--budget", "0.25", "--name", "kept"]
    assert main([*run, *subset, *small]) == 0


def test_networks_that_score_by_the_course_of_training_are_averaged(tmp_path: Path, small: list[str]) -> None:
    words = ["score", "fashion_mnist_cpu", "--metric", "dual", "--window", "2", "--after", "2", *small]
    assert main([*words, "--networks", "2", "--each", "--out", str(tmp_path / "w.npz")]) == 0
    each = [Scores.load(tmp_path / f"w-s{seed}.npz", 1280) for seed in (0, 1)]
    mean = Scores.load(tmp_path / "w.npz", 1280)
    np.testing.assert_allclose(mean.scores, np.mean([one.scores for one in each], axis=0), rtol=1e-5)
    np.testing.assert_allclose(mean.p_true, np.mean([one.p_true for one in each], axis=0), rtol=1e-5)  # type: ignore[arg-type]
    assert mean.metadata["window"] == 2


def test_defaults_are_the_papers() -> None:
    assert [ScoreOptions(metric=metric).epochs for metric in ("el2n", "forgetting", "p", "gradient")] == [
        20,
        20,
        10,
        10,
    ]


def test_folders_are_named_by_data_and_settings_without_a_name() -> None:
    def name(*words: str) -> str | None:
        return Score.from_words(["cifar10", *words], "trainer score").scoring_run(1).name

    names = [name(), name("--data", "a.beton"), name("--data", "b.beton"), name("--model", "resnet8")]
    assert len(set(names)) == 4
    assert all(one is not None and one.startswith("score-cifar10-el2n-20-s1-") for one in names)
    assert name("--data", "a.beton", "--runs-dir", "elsewhere") == names[1]
    assert name("--name", "mine") == "mine-s1"
