"""Per-example scores from networks, against slow references."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.formats import open_dataset
from pipeline.sources import open_source
from samplers import Scores
from tools.cli import main
from trainer.build import build
from trainer.config import Run
from trainer.data import open_data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.recipe import load
from trainer.schedules import SCHEDULES
from trainer.scores.examples import el2n, features, irreducible_losses
from trainer.session import Session
from trainer.state import resume


@pytest.fixture(scope="module")
def split(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 1,151 images to train on, 129 held out of the same source, and 256 to test on."""
    folder = tmp_path_factory.mktemp("split")
    arrays = {}
    for name, samples in (("train", 1280), ("test", 256)):
        source = open_source("fashion_mnist", split=name, data_dir=drawn)
        arrays[f"{name}_images"] = np.stack([source.read(index) for index in range(samples)])
        arrays[f"{name}_labels"] = source.labels[:samples]
    np.savez(folder / "fashion.npz", **arrays)  # type: ignore[arg-type]
    for name, more in (("train", ["--validation", "0.1"]), ("test", ["--split", "test"])):
        assert main(["convert", str(folder / "fashion.npz"), str(folder / f"{name}.beton"), *more]) == 0
    return folder


def _score(split: Path, out: Path, *more: str) -> list[str]:
    """The words of a scoring with the held-out images; later ones override."""
    data = ["--data", str(split / "train-validation.beton"), "--device", "cpu", "--batch-size", "32"]
    small = ["--model.width", "4", "--after", "2", "--runs-dir", str(out.parent / "runs")]
    metric = ["--metric", "irreducible_loss", "--out", str(out)]
    return ["score", "fashion_mnist_cpu", *metric, *data, *small, *more]


def test_el2n_and_features_are_those_of_the_definition(
    recipe: Callable[..., Run], train_run: Callable[..., Session]
) -> None:
    run = recipe(budget=0.1, precision="fp32")
    done = train_run(run)
    session = build(run, done.folder, open_data(run, World(), lambda *_: None), World(), torch.device("cpu"))
    assert resume(session)
    scores, seen = el2n(session), features(session)
    assert session.ledger.scored == 2 * 1280
    card = session.data.train.card
    model = session.encoder.eval()
    for i in (0, 17, 1279):
        pixels = session.data.train.image(i).astype(np.float32) / 255
        image = torch.from_numpy((pixels - np.float32(card.mean)) / np.float32(card.std)).permute(2, 0, 1)  # type: ignore[arg-type, operator]
        with torch.no_grad():
            p = model(image[None].float()).softmax(1)[0].numpy()
            own = model.forward_head(model.forward_features(image[None].float()), pre_logits=True)[0].numpy()  # type: ignore[operator]
        error = p.copy()
        error[session.data.train.labels[i]] -= 1
        np.testing.assert_allclose(scores[i], np.sqrt((error**2).sum()), rtol=1e-4)
        np.testing.assert_allclose(seen[i], own, rtol=1e-3, atol=1e-4)
    session.close()


def test_irreducible_losses_are_those_of_the_method_on_the_other_set(
    recipe: Callable[..., Run], train_run: Callable[..., Session], split: Path
) -> None:
    run = recipe(
        data=str(split / "train-validation.beton"), method="focal", precision="fp32", epochs=1, batch_size=32
    )
    done = train_run(run)
    session = build(run, done.folder, open_data(run, World(), lambda *_: None), World(), torch.device("cpu"))
    assert resume(session)
    scored = open_dataset(split / "train.beton")
    losses = irreducible_losses(session, scored)
    assert losses.shape == (1151,)
    assert session.ledger.scored == 1151
    # Normalized as the network was trained, not by the card of the set that is scored.
    card = session.data.train.card
    assert card.mean != scored.card.mean
    model = session.encoder.eval()
    for i in (0, 17, 1150):
        pixels = scored.image(i).astype(np.float32) / 255
        image = torch.from_numpy((pixels - np.float32(card.mean)) / np.float32(card.std)).permute(2, 0, 1)  # type: ignore[arg-type, operator]
        with torch.no_grad():
            p = model(image[None].float()).softmax(1)[0, scored.labels[i]].item()
        assert losses[i] == pytest.approx((1 - p) ** 2 * -math.log(p), rel=1e-3)
    session.close()


@pytest.mark.parametrize("counts", ["trained", "compute"])
def test_irreducible_losses_of_a_command_feed_rho_loss_and_their_cost_is_charged(
    recipe: Callable[..., Run], train_run: Callable[..., Session], split: Path, tmp_path: Path, counts: str
) -> None:
    out = tmp_path / "holdout.npz"
    assert main(_score(split, out, "--of", str(split / "train.beton"))) == 0
    told = Scores.load(out, 1151).metadata
    assert (told["trained"], told["scored"], told["after_epochs"]) == (256, 1151, 2)
    assert told["compute"] == pytest.approx(256 + 1151 / 3)
    assert told["data_sha256"] == open_dataset(split / "train.beton").card.digest
    assert told["holdout_sha256"] == open_dataset(split / "train-validation.beton").card.digest
    options = {"data": str(split / "train.beton"), "counts": counts, "log_every": 1}
    options |= {"selection": {"name": "rho_loss", "irreducible": str(out)}}
    session = train_run(recipe(**options))
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    assert ledger["charged"] == math.ceil(256 + 1151 / 3)
    known = ledger["charged"] + ledger["trained"] + ledger["score_cost"] * ledger["scored"]
    assert ledger["compute"] == pytest.approx(known)
    # The schedule is the run's own, from its beginning to its end, whatever was charged before.
    rates = [line["lr"] for line in session.folder.read("steps.jsonl")]
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(1e-6)
    if counts == "compute":
        with pytest.raises(RunError, match="must leave a batch of 64"):
            train_run(recipe(**options, epochs=1))
    if counts == "trained":
        assert ledger["spent"] == ledger["trained"] == 2302 // 64 * 64
        assert ledger["scored"] == 10 * ledger["trained"]
    else:
        assert ledger["spent"] == pytest.approx(known)
        # What is left once scoring a pool no longer pays for itself is trained as it comes.
        assert ledger["trained"] > 0
        assert ledger["scored"] > 0
        assert ledger["scored"] % 640 == 0
        assert ledger["spent"] <= 2302


def test_a_finished_run_tells_the_irreducible_losses_that_scoring_it_told(
    split: Path, tmp_path: Path
) -> None:
    of = ["--of", str(split / "train.beton")]
    assert main(_score(split, tmp_path / "trained.npz", *of)) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert load(str(folder / "run.toml")).schedule == SCHEDULES["linear"]()
    assert main(_score(split, tmp_path / "loaded.npz", *of, "--runs", str(folder), "--after", "7")) == 0
    assert (tmp_path / "loaded.npz").read_bytes() == (tmp_path / "trained.npz").read_bytes()


def test_without_of_the_set_that_the_recipe_names_is_scored(
    fashion: Path, split: Path, tmp_path: Path
) -> None:
    assert main(_score(split, tmp_path / "own.npz", "--data-dir", str(fashion))) == 2
    named = tmp_path / "named.toml"
    named.write_text(f'data = "{split / "train.beton"}"\nmodel = "resnet8"\n')
    # What selects in the recipe has no part in the scoring.
    selecting = _score(split, tmp_path / "own.npz", "--selection", "greedy", "--counts", "compute")
    assert main(["score", str(named), *selecting[2:]]) == 0
    told = Scores.load(tmp_path / "own.npz", 1151).metadata
    assert (told["trained"], told["scored"]) == (256, 1151)
    assert told["data_sha256"] == open_dataset(split / "train.beton").card.digest


def test_what_cannot_be_scored_is_refused_before_anything_is_trained(
    fashion: Path, split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, train, held = tmp_path / "whole.beton", split / "train.beton", split / "train-validation.beton"
    assert main(["convert", str(split / "fashion.npz"), str(whole)]) == 0
    own = fashion / "fashion_mnist" / "train.beton"
    refused = {
        "shares samples with": (
            ["--of", str(held)],
            ["--of", str(whole)],
            ["--of", str(train), "--data", str(train)],
        ),
        "same order; they differ from class 0 on, ": (["--of", str(own)],),
        f"--classes-of {own} --overwrite` mends it": (["--of", str(own)],),
        "--of goes with irreducible_loss; el2n": (["--of", str(train), "--metric", "el2n"],),
        "none.beton": (["--of", str(tmp_path / "none.beton")],),
    }
    capsys.readouterr()
    for message, lines in refused.items():
        for words in lines:
            assert main(_score(split, tmp_path / "out.npz", *words)) == 2
            told = capsys.readouterr().err
            assert message in told
            assert told.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "out.npz").exists()


def test_a_network_does_not_score_once_its_set_has_changed(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = _score(split, tmp_path / "out.npz", "--of", str(split / "train.beton"))
    moved = tmp_path / "sets"
    moved.mkdir()
    for path in split.glob("*.beton"):
        (moved / path.name).write_bytes(path.read_bytes())
        card = path.with_suffix(".card.json")
        (moved / card.name).write_text(card.read_text())
    data = ["--data", str(moved / "train-validation.beton")]
    assert main([*words, *data]) == 0
    again = ["convert", str(split / "fashion.npz"), str(moved / "train.beton"), "--seed", "1"]
    assert main([*again, "--validation", "0.1", "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*words, *data, "--of", str(moved / "train.beton")]) == 2
    assert "must continue with the data that it began with" in capsys.readouterr().err


def test_scores_of_a_command_feed_the_subset_sampler(fashion: Path, tmp_path: Path) -> None:
    places = ["--data-dir", str(fashion), "--runs-dir", str(tmp_path / "runs"), "--device", "cpu"]
    small = [*places, "--batch-size", "64", "--model.width", "4"]
    out = tmp_path / "el2n.npz"
    words = ["score", "fashion_mnist_cpu", "--out", str(out), "--networks", "2", "--after", "1", *small]
    assert main(words) == 0
    scores = Scores.load(out, 1280)
    assert scores.metadata["trained"] == 2 * 1280
    assert scores.metadata["scored"] == 2 * 1280
    assert scores.metadata["compute"] == pytest.approx(2 * (1280 + 1280 / 3))
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
