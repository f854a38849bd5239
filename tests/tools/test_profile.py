"""``trainer profile``: its rows, that they hang together, its files, and one line for mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from tools.cli import main
from tools.profiling.charts import quantity
from tools.profiling.finding import BOUNDS
from tools.reporting.wording import SPACE, multiple
from trainer.recipe import load

ALWAYS = {"order", "reading", "draws", "augmentation", "forward", "backward", "optimizer", "feedback", "rest"}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def profile(fashion: Path, tmp_path: Path, *more: str) -> dict[str, Any]:
    """Profile as it is typed, for as short as it goes; gives the figures."""
    out = tmp_path / "profile"
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
    words = [
        "profile",
        "fashion_mnist_cpu",
        *small,
        *places,
        "--seconds",
        "0.01",
        "--tries",
        "0",
        "--out",
        str(out),
        *more,
    ]
    assert main([*words, "--out", str(out)]) == 0
    assert not (tmp_path / "runs").exists()
    figures: dict[str, Any] = json.loads((out / "profile.json").read_text())
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
    assert figures["bottleneck"] in BOUNDS
    # Of each stage alone, and by the loop's own clock: both add up to the step.
    alone = sum(row["milliseconds"] for row in figures["stages"]) + figures["gap"]["milliseconds"]
    assert alone == pytest.approx(together["milliseconds"])
    assert sum(figures["phases_of_step"].values()) == pytest.approx(together["milliseconds"])
    assert figures["phases_of_step"]["rest"] == pytest.approx(found["rest"]["milliseconds"])
    waits = figures["phases_of_step"]["wait"] / together["milliseconds"]
    assert figures["stall"] == pytest.approx(waits)
    page = (tmp_path / "profile" / "profile.html").read_text()
    assert "By the clock of the loop, in its median window: these add up to the step." in page
    # One quantity for what the loader alone gives, wherever it stands.
    assert figures["reserve"] == pytest.approx(together["milliseconds"] / figures["loading"]["milliseconds"])
    assert page.count(multiple(figures["reserve"])) >= 2
    assert "holds the set in memory, and the training takes batches from there itself" in page
    assert figures["memory"]["fits"] <= 1280
    # Nothing was tried, and each setting says what would have it tried.
    assert {row["by"] for row in figures["untried"]} >= {"--tries 1", "--seconds 60"}
    assert {"--compile", "--no-channels-last"} <= {row["option"] for row in figures["untried"]}
    # As they were given, not as the profile assumes them for schedules that stand still.
    assert figures["settings"]["epochs"] == load("fashion_mnist_cpu").epochs
    assert figures["settings"]["batch_size"] == 16
    said = capsys.readouterr().out
    assert figures["sentence"] in said
    assert figures["setting"] in said
    for name in (*ALWAYS, "randaugment", "together"):
        assert name in said


def test_a_setting_is_tried_and_steps_are_traced(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = profile(fashion, tmp_path, "--tries", "1", "--trace", "--trace-steps", "2")
    (tried,) = figures["tried"]
    assert tried["option"].startswith("--")
    assert tried["speedup"] > 0
    assert len(tried["base"]) == len(tried["changed"]) >= 3
    page = (tmp_path / "profile" / "profile.html").read_text()
    assert tried["option"] in page
    assert f"1 of {1 + len(figures['untried'])} settings that may help were tried." in page
    assert "--tries 2" in page
    said = capsys.readouterr().out
    size = (tmp_path / "profile" / "trace.json").stat().st_size
    assert figures["trace"] == {"file": "trace.json", "bytes": size, "steps": 2}
    assert f"({quantity(size, 'B')}, 2 steps)".replace(SPACE, " ") in said
    assert "<code>trace.json</code> beside this page" in page
    work, memory = figures["work"], figures["memory"]
    assert 50 < work["operations"] < 1000
    assert 0 < work["flops"] < work["peak_flops"]
    assert {"weights", "gradients", "optimizer", "activations", "batches", "data set"} <= set(
        memory["owners"]
    )
    assert memory["owners"]["data set"] == 1280 * 28 * 28 * 3
    assert memory["fits"] > 16
    events = json.loads((tmp_path / "profile" / "trace.json").read_text())["traceEvents"]
    ours = [event for event in events if event.get("cat") == "trainer"]
    assert {"forward", "backward", "optimize", "wait", "read", "draw"} <= {
        one["args"]["phase"] for one in ours
    }
    # Our lanes lie where torch.profiler saw the same steps.
    steps = [event for event in events if str(event.get("name", "")).startswith("step ") and "dur" in event]
    assert len(steps) >= 2
    begin, end = min(one["ts"] for one in steps), max(one["ts"] + one["dur"] for one in steps)
    forwards = [one for one in ours if one["args"]["phase"] == "forward"]
    assert len(forwards) == 2
    assert all(begin - 1e3 <= one["ts"] <= one["ts"] + one["dur"] <= end + 1e3 for one in forwards)


def test_a_trace_that_would_be_too_large_is_refused(
    fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.profiling.trace.MOST_BYTES", 1 << 20)
    with pytest.raises(AssertionError):
        profile(fashion, tmp_path, "--trace", "--trace-steps", "900")
    said = capsys.readouterr().err
    assert "a trace must be at most 1 MiB; 900 steps of" in said
    assert "lower --trace-steps, to" in said
    # What was measured before isn't lost.
    assert "Timeline" in (tmp_path / "profile" / "profile.html").read_text()


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
    ("more", "message"),
    [
        (("--seconds", "0"), "seconds must be above 0; got 0"),
        (("--at", "1"), "at must be at least 0 and below 1, a fraction of the budget; got 1"),
        (("--batch-size", "4096"), "batch_size must be at most the 1,280 samples of this set; got 4,096"),
        (("--sampler", "best"), "sampler must be one of scan, uniform"),
        (("--tries", "-1"), "tries must be at least 0; got -1"),
        (("--trace-steps", "0"), "trace_steps must be at least 1 and at most 1000; got 0"),
        (("--prefetch", "0"), "prefetch must be at least 1 batch; got 0"),
        (
            ("--budget", "0.00001"),
            "a budget must hold at least one batch of 128; 1e-05 of 20 epochs of 1,280 samples is 0: raise "
            "--budget, to 0.005 say, or lower --batch-size",
        ),
        (
            ("--epochs", "0.1", "--budget", "1"),
            "a run must have at least 5 steps to be measured; this one has 1, of 128 images each",
        ),
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


def test_a_set_that_no_engine_can_give_is_one_line(
    photographs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    train = photographs.data(photographs.varied).with_name("train.beton")
    small = ("--model", "resnet8", "--model.width", "1", "--batch-size", "12", "--device", "cpu")
    assert main(["profile", "fashion_mnist_cpu", "--data", str(train), *small, "--augment", "none"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("trainer profile: ")
    assert said.count("\n") == 1
