"""Profiles as files: shown as a page, and compared."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loader_orders import Order
from planted import SlowSource

from pipeline import Loader, open_dataset, profile
from tools.cli import main
from tools.profiling.comparing import ratio


def write(folder: Path, seconds: float, **entries: Any) -> Path:
    """Write the figures of a loop, as one that runs somewhere would."""
    rng = random.Random(0)
    steps = [seconds * rng.uniform(0.99, 1.01) for _ in range(20)]
    figures = {
        "schema": 2,
        "kind": "steps",
        "setting": "a loop",
        "settings": {"batch_size": 32, "engine": "resident"},
        "environment": {"cpu": "fast", "cores": 2},
        "batch_size": 32,
        "batches": 20,
        "seconds": sum(steps),
        "wait": 0.0,
        "phases": {"forward": sum(steps)},
        "steps": steps,
        "timeline": [["host", "forward", 0.0, 0.1, 1]],
        **entries,
    }
    folder.mkdir()
    (folder / "profile.json").write_text(json.dumps(figures))
    return folder


def test_a_loaders_figures_become_a_page(
    tiny: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Loader(open_dataset(tiny()), engine=SlowSource(), batch_size=32, device="cpu") as loader:
        with profile(loader) as profiled:
            list(loader.batches(Order(np.arange(128))))
        profiled.save(tmp_path / "mine.json")
    assert main(["profile", str(tmp_path / "mine.json")]) == 0
    said = capsys.readouterr().out
    assert "Training waits for the loader" in said
    assert "of its work is reading and decoding images" in said
    page = (tmp_path / "mine.html").read_text()
    assert "<svg" in page
    assert "Timeline" in page
    assert "4 batches of 32" in page


def test_two_profiles_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = write(tmp_path / "slow", 0.02)
    fast = write(tmp_path / "fast", 0.01, settings={"batch_size": 32, "engine": "ffcv"})
    assert main(["profile", str(slow), str(fast)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The second takes 50.0% less time per image, significantly: 10.0" in said
    assert "note" not in said
    page = (fast / "comparison.html").read_text()
    assert "Settings that differ" in page
    assert "ffcv" in page
    assert main(["profile", str(slow), str(write(tmp_path / "same", 0.0200001))]) == 0
    assert "which is within the measurements' spread" in " ".join(capsys.readouterr().out.split())


def test_profiles_of_different_batches_are_compared_per_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = write(tmp_path / "small", 0.01), write(tmp_path / "large", 0.01, batch_size=64)
    assert main(["profile", str(small), str(large)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The second takes 50.0% less time per image, significantly" in said


def test_profiles_of_different_machines_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = write(tmp_path / "here", 0.02)
    there = write(tmp_path / "there", 0.01, environment={"cpu": "slow", "cores": 8})
    assert main(["profile", str(here), str(there)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note: these profiles are of different machines (cpu fast there and slow here; cores 2" in said
    assert "of different machines" in (there / "comparison.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("{", "must be a profile's JSON"),
        ("[1]", "must be a profile, as `trainer profile --out FOLDER` writes it"),
        ('{"finished": true}', "must be a profile, as"),
        ('{"schema": 1, "kind": "run"}', "must be a profile of schema 2; got 1: profile the run again"),
        ('{"schema": 2, "kind": "steps"}', "must be a whole profile; it lacks"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    file = tmp_path / "x.json"
    if content is not None:
        file.write_text(content)
    assert main(["profile", str(file)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_ratio_has_its_interval() -> None:
    twice = ratio([2.0, 2.2, 2.1, 1.9], [1.0, 1.1, 1.05, 0.95])
    assert twice.speedup == pytest.approx(2.0, rel=0.05)
    assert twice.significant
    assert not ratio([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).significant
    assert ratio([1.0], [2.0]).low is None
