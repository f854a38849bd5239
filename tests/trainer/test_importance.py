"""What networks say of samples, against slow references."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from samplers import Scores
from tools.cli import main
from trainer.build import build
from trainer.config import Run
from trainer.data import open_data
from trainer.importance import Forgetting, el2n, features
from trainer.parallel import World
from trainer.session import Session


def test_el2n_and_features_are_those_of_the_definition(
    recipe: Callable[..., Run], train_run: Callable[..., Session]
) -> None:
    run = recipe(budget=0.1, precision="fp32")
    done = train_run(run)
    session = build(run, done.folder, open_data(run, World(), lambda *_: None), World(), torch.device("cpu"))
    assert session.resume()
    scores, seen = el2n(session), features(session)
    assert session.ledger.scored == 2 * 1280
    card = session.data.train.card
    model = session.model.eval()
    for i in (0, 17, 1279):
        pixels = session.data.train.image(i).astype(np.float32) / 255
        image = torch.from_numpy((pixels - np.float32(card.mean)) / np.float32(card.std)).permute(2, 0, 1)
        with torch.no_grad():
            p = model(image[None].float()).softmax(1)[0].numpy()
            own = model.features(image[None].float())[0].numpy()
        error = p.copy()
        error[session.data.train.labels[i]] -= 1
        np.testing.assert_allclose(scores[i], np.sqrt((error**2).sum()), rtol=1e-4)
        np.testing.assert_allclose(seen[i], own, rtol=1e-3, atol=1e-4)
    session.close()


def test_forgetting_counts_each_fall_from_right_to_wrong_and_puts_the_never_right_first(
    tmp_path: Path,
) -> None:
    history = np.array(
        [
            # epochs 1 to 4 of five samples
            [1, 1, 1, 1],
            [0, 0, 1, 1],
            [1, 0, 1, 0],
            [0, 1, 0, 0],
            [0, 0, 0, 0],
        ],
        np.bool_,
    )
    counts = Forgetting.of(5)
    for epoch in range(2):
        counts.look(history[:, epoch])
    counts.save(tmp_path / "counts.npz")
    counts = Forgetting.load(tmp_path / "counts.npz")
    for epoch in range(2, 4):
        counts.look(history[:, epoch])
    expected = [sum(a and not b for a, b in itertools.pairwise(row)) for row in history[:4]]
    assert counts.scores().tolist() == [*expected, 4]


def test_scores_of_a_command_feed_the_subset_sampler(fashion: Path, tmp_path: Path) -> None:
    places = ["--data-dir", str(fashion), "--runs-dir", str(tmp_path / "runs"), "--device", "cpu"]
    small = [*places, "--batch-size", "64", "--model.width", "4"]
    out = tmp_path / "el2n.npz"
    words = ["score", "fashion_mnist_cpu", "--out", str(out), "--networks", "2", "--after", "1", *small]
    assert main(words) == 0
    scores = Scores.load(out, 1280)
    assert scores.metadata["trained"] == 2 * 1280
    assert scores.metadata["scored"] == 2 * 1280
    before = out.read_bytes()
    assert main(words) == 0
    assert out.read_bytes() == before
    subset = ["--sampler", "subset", "--sampler.scores", str(out), "--sampler.keep", "0.25", "--name", "kept"]
    assert main(["run", "fashion_mnist_cpu", "--epochs", "1", "--budget", "0.5", *subset, *small]) == 0
    again = ["--metric", "facility_location", "--keep", "0.02", "--runs", str(tmp_path / "runs" / "kept")]
    assert main(["score", "fashion_mnist_cpu", "--out", str(tmp_path / "f.npz"), *again, *small]) == 0
    chosen = Scores.load(tmp_path / "f.npz", 1280)
    assert (chosen.scores > 0).sum() == round(0.02 * 1280)
    assert chosen.features is not None


def test_a_folder_without_a_finished_run_does_not_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "fashion_mnist_cpu", "--runs", str(tmp_path)]) == 2
    assert "a run folder must hold run.toml" in capsys.readouterr().err
