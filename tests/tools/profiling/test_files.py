"""Profiles as files: shown as a page, and compared."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loader_orders import Order
from planted import SlowSource
from profile_figures import figures

from pipeline import Loader, open_dataset, profile
from tools.cli import main
from tools.profiling.files import Place, is_profile, read_profile


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
    assert "The first batch is left out: it took" in page
    assert "engine SlowSource, prefetch 3, cpu" in page
    # A loop of one's own has no command line.
    assert "Loader(engine=ResidentEngine())" in page
    assert "--engine" not in page


def test_a_disturbed_profile_says_so_on_top(tmp_path: Path) -> None:
    why = "alone, its stages take 143% of the step that they are part of: other programs disturbed it"
    said = f"Bound; type --threads 2: `trainer tune`; but {why}."
    (tmp_path / "x.json").write_text(json.dumps(figures(disturbed=why, sentence=said)))
    assert main(["profile", str(tmp_path / "x.json")]) == 0
    page = (tmp_path / "x.html").read_text()
    assert '<aside class="notice"><p>Alone, its stages take 143% of the step' in page
    assert page.index("Alone, its stages") < page.index("The change to make")
    code = '<code class="option">'
    assert f"<p>Type {code}--threads 2</code>: {code}trainer tune</code>.</p>" in page
    assert page.count(why[1:]) == 1
    # A batch isn't larger than its set, nor a loader without threads drawn against them.
    assert "About 24,064 images per batch would fit" in page
    held = {**figures()["memory"], "fits": 60_000}
    threads = {**figures()["loader"], "threads": [], "unvaried": "No rate against threads."}
    (tmp_path / "x.json").write_text(json.dumps(figures(memory=held, loader=threads)))
    assert main(["profile", str(tmp_path / "x.json")]) == 0
    page = (tmp_path / "x.html").read_text()
    assert "A batch of all 60,000 images of the set would fit" in page
    assert "<li>No rate against threads.</li>" in page


def test_out_is_a_folder_or_a_page(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", 0.02), write(tmp_path / "other", 0.01)
    for words, name in (
        (["profile", str(one)], "profile.html"),
        (["profile", str(one), str(other)], "comparison.html"),
    ):
        assert main([*words, "--out", str(tmp_path / "a" / "folder-0.3")]) == 0
        assert (tmp_path / "a" / "folder-0.3" / name).is_file()
        assert main([*words, "--out", str(tmp_path / "b" / "mine.html")]) == 0
        assert (tmp_path / "b" / "mine.html").is_file()
        (tmp_path / "b" / "mine.html").unlink()
    assert Place.of(tmp_path / "x.html") == Place(
        tmp_path / "x.html", tmp_path / "x.json", tmp_path / "x.trace.json"
    )


def test_a_folder_of_images_is_no_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    assert not is_profile(str(tmp_path / "photos"))
    assert is_profile(str(write(tmp_path / "one", 0.02)))
    # A run's folder is meant as one, and says what it lacks.
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.toml").write_text("")
    assert main(["profile", str(run)]) == 2
    assert f"{run / 'profile.json'} does not exist: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("one", "othr"), "a profile must be a folder or file that `trainer profile` wrote; othr does not"),
        (("oen", "other"), "a profile must be a folder or file that `trainer profile` wrote; oen does not"),
        (("--out", "x.html", "one", "othr"), "wrote; othr does not exist"),
        (("one", "other", "third"), "one profile is shown and two are compared; got 3: one other third"),
        (("one", "--out", "file"), "--out must be a folder, or a page that ends in .html; got the file file"),
    ],
    ids=" ".join,
)
def test_a_mistyped_profile_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other", "third"):
        write(Path(name), 0.02)
    Path("file").write_text("mine")
    assert main(["profile", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_steps_of_a_run_say_what_tries_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tries = "; `trainer profile run.toml`, of this run's folder, tries what makes it faster."
    assert main(["profile", str(write(tmp_path / "own", 0.02))]) == 0
    assert tries in " ".join(capsys.readouterr().out.split())
    spans = [
        ["host", "wait", 0.0, 0.1, 1],
        ["loader", "read", 0.0, 0.09, 1],
        ["loader", "draw", 0.09, 0.1, 1],
    ]
    waiting = write(tmp_path / "waits", 0.02, wait=0.2, timeline=spans)
    assert main(["profile", str(waiting)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "without waiting a step would be 50% shorter; not tried: give the engine more threads" in said
    assert f"or keep the set in memory (--engine resident){tries}" in said


def test_the_first_batch_of_a_loop_is_left_out(tmp_path: Path) -> None:
    # Each step ends with the wait for a batch; the first one opens the set.
    ends = [2.0, 2.01, 2.02, 2.08]
    spans = [["consumer", "wait", end - 0.005, end, number] for number, end in enumerate(ends)]
    spans[0][2] = 0.0
    spans[3][2] = 2.03
    spans += [["loader", "read", 0.1, 1.9, 0], ["loader", "read", 2.001, 2.004, 1]]
    steps = [after - before for before, after in pairwise(ends)]
    write(tmp_path / "own", 1.0, kind="loader", wait=2.06, batches=4, steps=steps, timeline=spans)
    found = read_profile(tmp_path / "own")
    assert found["batches"] == 3
    assert found["stall"] == pytest.approx(0.06 / 0.08)
    assert found["loading_seconds"] == {"read": pytest.approx(0.003)}
    assert found["first"] == pytest.approx(2.0)
    # The slowest step stands with its own wait.
    assert found["slowest"][0] == {"seconds": pytest.approx(0.06), "phases": {"wait": pytest.approx(0.05)}}


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


def test_drift_between_two_profiles_is_no_significant_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each is steady by itself, and they differ by what machines do within minutes.
    one, other = write(tmp_path / "one", 0.02), write(tmp_path / "other", 0.0208)
    assert main(["profile", str(one), str(other)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The second takes 4.0% more time per image, which is within the measurements' spread and" in said
    page = (other / "comparison.html").read_text()
    assert "Two profiles of one recipe differ, too" in page
    assert "differences below about 6% are never called significant" in page


def test_a_machine_that_was_slower_itself_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, busy = (
        write(tmp_path / name, 0.02, windows={"loop": [times * 0.02] * 6, "machine": [times * 0.005] * 6})
        for name, times in (("quiet", 1.0), ("busy", 1.8))
    )
    assert main(["profile", str(quiet), str(busy)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note: the machine itself was 1.80 times as slow for the second, by a fixed piece of work" in said
    assert (
        "80.0% more time per image, and whether that is more than chance is not measurable (the machine"
        in said
    )
    assert main(["profile", str(quiet), str(quiet)]) == 0
    assert "note" not in capsys.readouterr().out


def test_what_an_interval_says_nothing_about_is_not_measurable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = {"loop": [0.02, 0.021, 0.02], "order": [1e-7, 1e-2, 1e-5, 3e-3], "feedback": [1e-4, 1e-4]}
    folders = [write(tmp_path / name, 0.02, windows=windows) for name in ("one", "other")]
    assert main(["profile", *map(str, folders)]) == 0
    page = (folders[1] / "comparison.html").read_text()
    assert page.count("not measurable</td>") == 2
    assert "its times vary more than 10,000-fold" in page
    assert "2 windows are too few" in page
    assert "e+" not in page
    assert "nan" not in capsys.readouterr().out


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
