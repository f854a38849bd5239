"""``trainer profile``: its rows, that they hang together, and that its sentence names what holds a run up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines import ENGINES
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource
from tools.cli import main
from tools.profiling.few import Few
from tools.profiling.finding import GROUPS, Measured, sentence
from tools.profiling.timing import Alone, take_turns
from trainer.config import Run
from trainer.recipe import from_table
from trainer.selection import SELECTIONS

ALWAYS = {"order", "reading", "draws", "augmentation", "forward", "backward", "optimizer", "feedback", "rest"}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def profile(fashion: Path, tmp_path: Path, *more: str) -> dict[str, Any]:
    """Profile as it is typed, for as short as it goes; gives the figures."""
    out = tmp_path / "profile.json"
    small = (
        "--model",
        "resnet8",
        "--model.width",
        "1",
        "--batch-size",
        "16",
        "--device",
        "cpu",
        "--threads",
        "1",
    )
    places = ("--data-dir", str(fashion), "--runs-dir", str(tmp_path / "runs"))
    words = ["profile", "fashion_mnist_cpu", *small, *places, "--seconds", "0.01", "--json", str(out), *more]
    assert main(words) == 0
    assert not (tmp_path / "runs").exists()
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


def stages(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["stage"]: row for row in figures["stages"]}


# --- What is measured ------------------------------------------------------------------------------------


def test_every_stage_is_there_and_the_figures_hang_together(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = profile(fashion, tmp_path, "--augment", "standard", "randaugment", "mixup")
    found, together = stages(figures), figures["together"]
    assert set(found) == ALWAYS
    assert [row["stage"] for row in figures["augmentations"]] == [
        "standard",
        "randaugment",
        "normalization",
        "mixup",
    ]
    for row in [*figures["stages"], *figures["augmentations"], together]:
        if row["stage"] != "rest":
            assert row["milliseconds"] > 0
            assert row["images_per_second"] == pytest.approx(16e3 / row["milliseconds"])
        assert row["share"] == pytest.approx(row["milliseconds"] / together["milliseconds"])
        assert not row["beside"]
    assert together["share"] == 1
    assert 0 <= found["rest"]["share"] < 1
    assert 0 <= figures["stall"] <= 1
    assert figures["bottleneck"] in GROUPS
    said = capsys.readouterr().out
    assert figures["sentence"] in said
    assert figures["setting"] in said
    for name in (*ALWAYS, "randaugment", "together"):
        assert name in said


def test_a_selection_that_scores_has_its_stages(fashion: Path, tmp_path: Path) -> None:
    figures = profile(fashion, tmp_path, "--selection", "foms", "--augment", "mixup", "--sampler", "p_sgd")
    assert set(stages(figures)) == ALWAYS | {"scoring", "mixing"}
    # Before its start the selection doesn't score, and trains on candidates as they come.
    before = profile(fashion, tmp_path, "--selection", "foms", "--selection.start", "0.5", "--at", "0.2")
    assert set(stages(before)) == ALWAYS


def test_an_engine_that_reads_ahead_works_beside_the_training(fashion: Path, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    figures = profile(
        fashion,
        tmp_path,
        *("--engine", "dali", "--resolution", "progressive", "--at", "0.9"),
        *("--augment", "random_resized_crop", "--sampler", "c_sgd", "--log-every", "3"),
    )
    beside = {name for name, row in stages(figures).items() if row["beside"]}
    assert beside == {"reading", "draws"}
    assert "at 28 pixels" in figures["setting"]


def test_chosen_samples_are_read_again_where_they_were_scored_smaller(tmp_path: Path) -> None:
    pytest.importorskip("ffcv")
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "levels"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        images = rng.integers(0, 256, (96, 48, 48, 3), dtype=np.uint8)
        source = ArraySource("levels", split, "noise", ("a", "b"), np.arange(96) % 2, images)
        convert(source, folder / f"{split}.beton", ConvertOptions(levels=(24,), encoding="jpeg"))
    figures = profile(
        tmp_path / "data",
        tmp_path,
        *("--data", "levels", "--engine", "ffcv", "--selection", "foms", "--selection.pixels", "0.5"),
        *("--augment", "random_resized_crop", "--resolution.pixels", "48"),
    )
    assert set(stages(figures)) == ALWAYS | {"scoring", "reading again", "augmenting again"}


@pytest.mark.parametrize(
    ("more", "bottleneck", "words"),
    [
        (
            ("--augment", "randaugment", "--augment.randaugment.operations", "24"),
            "augmentation",
            "randaugment (",
        ),
        (("--model.width", "48", "--augment", "none"), "network", "forward, backward and update take"),
    ],
)
def test_a_lopsided_run_is_told_what_holds_it_up(
    fashion: Path, tmp_path: Path, more: tuple[str, ...], bottleneck: str, words: str
) -> None:
    figures = profile(fashion, tmp_path, *more)
    assert figures["bottleneck"] == bottleneck
    assert words in figures["sentence"]
    taken = {
        name: sum(row["milliseconds"] for row in figures["stages"] if row["stage"] in group)
        for name, group in GROUPS.items()
    }
    assert max(taken, key=lambda name: taken[name]) == bottleneck


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seconds", "0"), "seconds must be above 0; got 0"),
        (("--at", "1"), "at must be at least 0 and below 1, a fraction of the budget; got 1"),
        (("--batch-size", "4096"), "batch_size must be at most the 1,280 samples of this set; got 4,096"),
        (("--sampler", "best"), "sampler must be one of scan, uniform"),
        (("--json", "profile.txt"), "--json must end in .json; got profile.txt"),
    ],
)
def test_a_mistake_is_one_line(
    fashion: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert main(["profile", "fashion_mnist_cpu", "--data-dir", str(fashion), *more]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert said.startswith("trainer profile: ")


# --- What is made of it ----------------------------------------------------------------------------------


def measured(beside: frozenset[str] = frozenset(), wait: float = 0.0, **stages: float) -> Measured:
    """A profile in milliseconds a step, of 1 ms a stage but for those given."""
    run = from_table({"data": "x"}, where="test")
    every = dict.fromkeys(ALWAYS - {"rest"}, 1.0) | {"rest": 0.0} | stages
    seconds = {name: value / 1e3 for name, value in every.items()}
    step = sum(taken for name, taken in seconds.items() if name not in beside) + wait / 1e3
    return Measured(run, seconds, {"standard": 1e-4}, step, wait / 1e3, beside, decodes=True)


LOADER = frozenset({"reading", "draws", "copy"})


@pytest.mark.parametrize(
    ("profile", "bottleneck", "words"),
    [
        (measured(forward=30.0, backward=60.0), "network", "could feed 48 times as many images"),
        (measured(augmentation=9.0), "augmentation", "most of that standard"),
        (measured(scoring=9.0), "selection", "is bound by choosing among candidates"),
        (measured(order=9.0), "order", "--service process"),
        (measured(feedback=9.0), "feedback", "--log-every"),
        (measured(draws=9.0), "draws", "random numbers"),
        (measured(copy=9.0), "copy", "copies to the device"),
        (measured(rest=9.0), "rest", "--batch-size"),
        (measured(**{"reading again": 9.0}), "rereading", "read again"),  # type: ignore[arg-type]
        # Beside the training, the longer way counts: 7 ms of reading hold nobody up where a step takes 8 ...
        (measured(LOADER, reading=6.0, forward=2.0, backward=3.0), "network", "bound by the network"),
        # ... and 12 do.
        (measured(LOADER, wait=6.0, reading=12.0, forward=4.0), "reading", "waits for images to be read"),
    ],
)
def test_the_sentence_names_the_longest_stage_of_the_longer_way(
    profile: Measured, bottleneck: str, words: str
) -> None:
    assert profile.bottleneck == bottleneck
    said = sentence(profile)
    assert words in said
    assert said.startswith("Training ")
    assert said.endswith(".")
    assert ". " not in said
    assert "\n" not in said


def with_parts(**entries: Any) -> Run:
    return from_table({"data": "x", **entries}, where="test")


def test_remedies_fit_the_run() -> None:
    slow = measured(LOADER, wait=9.0, reading=12.0)
    decoding = replace(slow, run=with_parts(engine="ffcv"))
    assert "waits for JPEG decoding: it takes 12 ms where a whole step takes 15 ms, 4.0 times" in sentence(
        decoding
    )
    assert "--engine.threads" in sentence(decoding)
    assert "--engine resident" in sentence(replace(decoding, decodes=False))
    assert "--square" in sentence(slow)
    network = measured(forward=30.0, run_=0.0)
    assert "--resolution progressive" in sentence(network)
    assert "--compile" in sentence(network)
    grown = replace(network, run=with_parts(resolution="progressive", compile=True))
    assert "--resolution" not in sentence(grown)
    assert "--compile" not in sentence(grown)
    scoring = replace(measured(scoring=9.0), run=with_parts(selection="foms"))
    assert "scoring candidates for foms" in sentence(scoring)
    assert "--selection.pixels" in sentence(scoring)
    for name, part in SELECTIONS.items():
        for more in ({}, {"inputs": "penultimate"} if name.startswith("impon") else {}):
            told = sentence(replace(scoring, run=with_parts(selection={"name": name, **more})))
            advised = set(re.findall(r"--selection\.(\w+)", told))
            assert advised <= {item.name for item in fields(part)}, told  # type: ignore[arg-type]


def test_waiting_beside_a_slower_network_is_mentioned() -> None:
    waits = measured(LOADER, wait=2.0, forward=10.0, backward=10.0)
    assert sentence(waits).endswith("; it also waits for data 7.7% of the time.")
    assert "waits for data" not in sentence(measured(LOADER, wait=1.0, forward=10.0, backward=10.0))


# --- Pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["resident", "ffcv"])
def test_few_samples_are_read_as_they_stand_in_the_set(fashion: Path, engine: str) -> None:
    if engine == "ffcv":
        pytest.importorskip("ffcv")
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    ids = np.array([3, 700, 1279], dtype=np.int64)
    few = Few(data, ids)
    reader = ENGINES[engine]().open(few, torch.device("cpu"))
    try:
        read = reader.read(np.array([2, 0, 1], dtype=np.int64))
    finally:
        reader.close()
    expected = np.stack([data.image(int(index)) for index in ids[[2, 0, 1]]])
    assert (read.permute(0, 2, 3, 1).numpy() == expected).all()
    assert len(few) == 3
    assert few.name(1) == data.name(700)
    assert (few.image(2) == data.image(1279)).all()


def test_works_take_turns_and_short_ones_are_called_often() -> None:
    made: list[str] = []
    short = Alone("short", lambda: made.append("short"), 2.0, torch.device("cpu"))

    def other() -> dict[str, float]:
        made.append("other")
        return {"x": float(made.count("other")), "y": 1.0}

    medians = take_turns([short, other], 0.0)
    turns = [name for name, before in zip(made, ["", *made], strict=False) if name != before]
    assert turns == ["short", "other"] * 6
    assert made.count("short") > 6
    assert medians["x"] == 4
    assert medians["y"] == 1
    assert 0 < medians["short"] < 0.01
