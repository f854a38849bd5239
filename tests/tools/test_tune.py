"""``trainer tune``: what it may touch, that it writes what `--with` takes, and that the fastest wins."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import NAPS, SlowSource

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.engines import ENGINES
from pipeline.engines.ffcv import FfcvEngine
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource
from tools.cli import main
from tools.recipe_line import read_run
from tools.tune import fastest, finding
from tools.tuning.halving import Entry, halve, ranked
from tools.tuning.space import Candidate, space, toml
from trainer.data import Data, open_data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.recipe import from_table

NEUTRAL = {"engine", "threads", "prefetch", "service", "channels_last", "accumulate", "compile"}
"""Settings that don't change what is learned."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_only_settings_that_leave_results_alone_are_tried(tmp_path: Path, encoding: str) -> None:
    pytest.importorskip("ffcv")
    images = np.zeros((8, 16, 16, 3), np.uint8)
    source = ArraySource("x", "train", "zeros", ("a", "b"), np.arange(8) % 2, images)
    convert(source, tmp_path / "train.beton", ConvertOptions(encoding=encoding))  # type: ignore[arg-type]
    train = open_dataset(tmp_path / "train.beton")
    run = from_table({"data": "x", "batch_size": 8, "device": "cpu"}, where="test")
    found = space(run, train)
    assert found[0] == Candidate(run, {})
    assert len(found) > 4
    for candidate in found:
        assert set(candidate.changed) <= NEUTRAL - {"compile"}
        # The rest of the run is as it was.
        assert replace(candidate.run, **{name: getattr(run, name) for name in candidate.changed}) == run
        engine = candidate.run.engine
        if isinstance(engine, FfcvEngine):
            assert engine.exact == (encoding == "jpeg")
    # Engines that decode otherwise aren't exchanged for one another.
    rough = replace(run, engine=FfcvEngine())
    engines = {type(candidate.run.engine) for candidate in space(rough, train)}
    assert (len(engines) == 1) == (encoding == "jpeg")
    assert all(candidate.run.compile for candidate in space(run, train, compiled=True))
    # Batch normalization takes statistics of micro-batches; a network without it is trained alike in parts.
    assert {candidate.run.accumulate for candidate in found} == {1}
    plain = from_table({"data": "x", "batch_size": 8, "device": "cpu", "model": "lenet"}, where="test")
    assert {candidate.run.accumulate for candidate in space(plain, train)} == {1, 2, 4}
    # Without a lead no service works beside the training.
    assert {candidate.run.service for candidate in found} == {"inline"}
    ahead = space(replace(run, lead=2), train)
    assert {candidate.run.service for candidate in ahead} == {"inline", "thread", "process"}


def test_the_fastest_wins(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "slow", SlowSource)
    table = {
        "data": "fashion_mnist",
        "data_dir": str(fashion),
        "model": {"name": "resnet8", "width": 1},
        "batch_size": 16,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
    }
    run = from_table(table, where="test")
    slow = replace(run, engine=SlowSource())
    broken = replace(run, batch_size=2000)
    candidates = [
        Candidate(slow, {}),
        Candidate(run, {"engine": run.engine}),
        Candidate(broken, {"batch_size": 2000}),
    ]
    data: Data = open_data(run, World(), lambda name, done, total: None)
    before = time.perf_counter()
    entries = halve(candidates, data, 0.5, 60.0, tmp_path, compiles=False)
    assert time.perf_counter() - before > 2 * NAPS
    assert entries[0].against(entries[1]).significant
    assert entries[0].candidate.run.engine == run.engine
    assert entries[0].seconds_per_image < 0.5 * entries[1].seconds_per_image
    assert entries[2].refused is not None
    assert "this set has 1,280 samples" in entries[2].refused


def test_a_gain_within_the_spread_is_none() -> None:
    run = from_table({"data": "x"}, where="test")
    turns = [0, 1, 2, 3]
    first = Entry(Candidate(run, {}), windows=[1.0, 2.0, 1.5, 1.2], turns=turns)
    other = Entry(Candidate(run, {"prefetch": 8}), windows=[0.9, 2.1, 1.4, 1.2], turns=turns)
    faster = Entry(Candidate(run, {"prefetch": 4}), windows=[0.4, 0.5, 0.45, 0.5], turns=turns)
    assert fastest([other, first], first) == (first, 1.0)
    # It says why what stands on top isn't taken.
    said = finding([other, first], first, 20)
    assert said.startswith("fastest, 1.00 times as fast as now: the settings as they are, of 2 tried; ")
    assert "--prefetch 8 isn't taken: 1.04 times as fast, which isn't significant (95% interval 0.9" in said
    assert said.endswith("; --seconds 40 measures longer")
    assert "compiling" not in said
    once = Entry(Candidate(run, {"compile": True}), windows=[0.4], turns=[3], opening=69.0)
    assert "compiling took 69 s, which can't be cut short" in finding([once, first], first, 20)
    assert "0.40 times" not in finding([once, first], first, 20)
    assert "--compile isn't taken: 3.00 times as fast, but not measurable: 1 turn is too few" in finding(
        [once, first], first, 20
    )
    assert finding([first, other], first, 20).endswith("the settings as they are, of 2 tried")
    # What stands above it and isn't sure doesn't hide what is.
    assert fastest([once, faster, other, first], first)[0] is faster
    best, gain = fastest([faster, first], first)
    assert best is faster
    assert gain > 2


def test_what_came_late_may_win_and_what_dropped_out_may_not() -> None:
    run = from_table({"data": "x"}, where="test")

    def entry(seconds: float, rounds: int) -> Entry:
        return Entry(Candidate(run, {}), windows=[seconds] * (rounds > 0), rounds=rounds)

    first, finalist, lucky, slow, untried = (
        entry(2, 4),
        entry(1.5, 4),
        entry(1, 1),
        entry(3, 1),
        entry(0, 0),
    )
    compiled = entry(1.2, 1)
    entries = [first, untried, lucky, slow, finalist, compiled]
    found = ranked([compiled, finalist, first, finalist, first], entries)
    assert found == [compiled, finalist, first, lucky, slow, untried]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch-size", "1000", "--selection", "foms"), "this set has 1,280 samples"),
        (("--budget", "0.00001"), "a budget must hold at least one batch of 128; 1e-05 of 20 epochs"),
        (("--epochs", "0.5", "--budget", "1", "--batch-size", "160"), "this one has 4, of 160 images each"),
    ],
)
def test_a_run_that_cant_start_is_one_line(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    words = ["tune", "fashion_mnist_cpu", "--data-dir", str(fashion), *more]
    assert main([*words, "--device", "cpu", "--seconds", "1", "--out", str(tmp_path / "x.toml")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_what_is_found_is_taken_by_with(fashion: Path, tmp_path: Path) -> None:
    run = from_table({"data": "fashion_mnist", "data_dir": str(fashion)}, where="test")
    changed: dict[str, Any] = {
        "engine": FfcvEngine(threads=2, exact=True),
        "prefetch": 8,
        "channels_last": False,
    }
    text = toml(Candidate(replace(run, **changed), changed), 1.5)
    assert text.startswith("# Written by trainer tune: 1.50 times as fast")
    (tmp_path / "tuned.toml").write_text(text)
    assert set(tomllib.loads(text)) == set(changed)
    words = ["fashion_mnist_cpu", "--with", str(tmp_path / "tuned.toml"), "--prefetch", "5"]
    read, _ = read_run(words, "test", "")
    plain, _ = read_run(["fashion_mnist_cpu"], "test", "")
    assert read == replace(plain, **{**changed, "prefetch": 5})
    with pytest.raises(
        RunError, match=r"--with must name TOML files of settings; .*none\.toml does not exist"
    ):
        read_run(["fashion_mnist_cpu", "--with", str(tmp_path / "none.toml")], "test", "")


def test_as_it_is_typed(fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--model", "resnet8", "--model.width", "1", "--batch-size", "16", "--threads", "1")
    words = ["tune", "fashion_mnist_cpu", *small, "--device", "cpu", "--data-dir", str(fashion)]
    assert main([*words, "--seconds", "1", "--out", str(tmp_path / "tuned.toml")]) == 0
    said = capsys.readouterr().out
    assert "fastest, " in said
    assert "not tried for lack of time; compiling takes about a minute by itself, so it is tried from" in said
    assert said.count("tuned.toml") == 1
    assert (tmp_path / "tuned.toml").read_text().startswith("# Written by trainer tune")
    (tmp_path / "mine.toml").write_text("data = 'x'\n")
    assert main([*words, "--out", str(tmp_path / "mine.toml")]) == 2
    assert "--out must not replace a file that this command didn't write" in capsys.readouterr().err
