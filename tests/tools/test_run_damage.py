"""Resuming: a damaged, a foreign or another set's checkpoint is never taken for the run's own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tools.cli import main
from tools.recipe_line import read_run
from trainer import checkpoint
from trainer.errors import RunError
from trainer.run_folder import FILES, RunFolder

Words = Callable[..., list[str]]


def ledger(folder: Path) -> dict[str, Any]:
    """A finished run's ledger."""
    content: dict[str, Any] = json.loads((folder / "ledger.json").read_text())
    return content


@pytest.fixture
def stopped(tiny_words: Words, tmp_path: Path) -> tuple[Path, str]:
    """A run that has written every checkpoint and not its end, and the weights that it ends with."""
    assert main(tiny_words("--checkpoint-seconds", "0")) == 0
    folder = tmp_path / "runs" / "x"
    weights = ledger(folder)["weights"]
    (folder / "ledger.json").unlink()
    return folder, weights


def test_the_last_two_checkpoints_are_kept(stopped: tuple[Path, str]) -> None:
    places = {path.name for path in (stopped[0] / "checkpoint").iterdir()}
    assert places == {"last.pt", "previous.pt"}


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    stopped: tuple[Path, str], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, weights = stopped
    last = folder / "checkpoint" / "last.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    capsys.readouterr()
    assert main(tiny_words()) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"checkpoint {last} isn't as it was written" in said
    assert f"going on from the one before it, {folder / 'checkpoint' / 'previous.pt'}" in said
    assert ledger(folder)["weights"] == weights


@pytest.mark.parametrize("flips", [6, pytest.param(50, marks=pytest.mark.long)])
def test_a_flipped_byte_never_ends_in_other_weights(
    flips: int, stopped: tuple[Path, str], tiny_words: Words, tmp_path: Path
) -> None:
    folder, weights = stopped
    kept = shutil.copytree(folder, tmp_path / "kept")
    rng = np.random.default_rng(flips)
    size = (kept / "checkpoint" / "last.pt").stat().st_size
    # The first bytes are the header's; the others fall anywhere.
    places = [0, 30, 95, *rng.integers(0, size, flips - 3).tolist()]
    for number, place in enumerate(places):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        # Every third time both are damaged.
        for name in ("last.pt", "previous.pt")[: 2 if number % 3 == 2 else 1]:
            content = bytearray((folder / "checkpoint" / name).read_bytes())
            content[place % len(content)] ^= 1 << int(rng.integers(8))
            (folder / "checkpoint" / name).write_bytes(content)
        status = main(tiny_words())
        assert status == (2 if number % 3 == 2 else 0)
        if status == 0:
            assert ledger(folder)["weights"] == weights
        else:
            assert not (folder / "ledger.json").exists()


def test_two_damaged_checkpoints_are_refused_in_one_line(
    stopped: tuple[Path, str], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("last.pt", b""), ("previous.pt", b"nothing of ours")):
        (stopped[0] / "checkpoint" / name).write_bytes(content)
    capsys.readouterr()
    assert main(tiny_words()) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "last.pt isn't as it was written" in said
    assert "previous.pt isn't as it was written" in said
    assert f"remove {stopped[0] / 'checkpoint'} to start the run again" in said


def test_a_run_killed_between_the_two_renames_goes_on(stopped: tuple[Path, str], tiny_words: Words) -> None:
    folder, weights = stopped
    (folder / "checkpoint" / "last.pt").unlink()
    assert main(tiny_words()) == 0
    assert ledger(folder)["weights"] == weights


def test_what_is_no_file_is_not_waited_for(
    stopped: tuple[Path, str], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, weights = stopped
    last = folder / "checkpoint" / "last.pt"
    last.unlink()
    os.mkfifo(last)
    capsys.readouterr()
    assert main(tiny_words()) == 0
    assert f"checkpoint {last} must be a regular file, and isn't; going on" in capsys.readouterr().err
    assert ledger(folder)["weights"] == weights


@pytest.mark.parametrize("target", ["last.pt", "/no/such/disk/last.pt"])
def test_a_checkpoint_that_is_a_link_to_nowhere_is_told(
    target: str, stopped: tuple[Path, str], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, weights = stopped
    last = folder / "checkpoint" / "last.pt"
    last.unlink()
    last.symlink_to(target)
    capsys.readouterr()
    assert main(tiny_words()) == 0
    assert f"checkpoint {last} must be a regular file, and isn't; going on" in capsys.readouterr().err
    assert ledger(folder)["weights"] == weights


def test_what_stands_where_a_damaged_checkpoint_would_go_is_named(
    stopped: tuple[Path, str], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped[0] / "checkpoint"
    (folder / "last.pt").write_bytes(b"")
    (folder / "damaged.pt" / "x").mkdir(parents=True)
    capsys.readouterr()
    assert main(tiny_words()) == 2
    assert f"{folder / 'damaged.pt'} can't be written: Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*FILES, "checkpoint"])
def test_what_is_no_file_of_a_run_is_found_before_it_is_waited_for(
    name: str, tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "runs" / "x" / name
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    assert main(tiny_words()) == 2
    said = capsys.readouterr().err
    kind = "folder" if name == "checkpoint" else "regular file"
    assert f"{place} must be a {kind}, and isn't: move it away, or give another --name" in said
    assert said.count("\n") == 1
    assert [path.name for path in place.parent.iterdir()] == [name]


@pytest.mark.parametrize(("closed", "within"), [(".", "run.toml"), ("checkpoint", "last.pt")])
def test_a_folder_that_may_not_be_looked_into_is_told_in_one_line(
    closed: str, within: str, tiny_words: Words
) -> None:
    run, _ = read_run(tiny_words()[1:], "trainer run", "")
    user = os.geteuid()
    # Of pytest's own folders others may look into none.
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "x"
        (folder / "checkpoint").mkdir(parents=True)
        Path(parent).chmod(0o755)
        (folder / closed).chmod(0)
        if user == 0:
            # Nothing is forbidden to root.
            os.seteuid(65534)
        try:
            with pytest.raises(
                RunError, match=rf"{folder / closed / within} can't be looked at \(Permission"
            ):
                RunFolder(folder, run)
        finally:
            os.seteuid(user)
            (folder / closed).chmod(0o755)


def _of_other_shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "method": {name: torch.zeros(3) for name in state["method"]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_of_other_shapes, "doesn't fit this run (RuntimeError: Error(s) in loading state_dict"),
        (lambda state: {**state, "method": 3}, "doesn't fit this run (TypeError"),
        (lambda state: {**state, "sampler": {}}, "doesn't fit this run (SamplingError"),
        (lambda state: {**state, "ledger": None}, "doesn't fit this run (TypeError"),
        (lambda state: {**state, "settings": "0"}, "must be of this run; it is of one with other settings"),
        (lambda state: {"settings": state["settings"]}, "a run must go on with the 0 ranks"),
        (
            lambda state: {**state, "samples": {name: a[:5] for name, a in state["samples"].items()}},
            "it is of a set of 5 samples",
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_in_one_line(
    stopped: tuple[Path, str],
    tiny_words: Words,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], dict[str, Any]],
    message: str,
) -> None:
    path = stopped[0] / "checkpoint" / "last.pt"
    checkpoint.save(path, change(checkpoint.load(path)))
    capsys.readouterr()
    assert main(tiny_words()) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_an_earlier_versions_checkpoint_is_refused_in_one_line(
    stopped: tuple[Path, str], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"schema": 3}, stopped[0] / "checkpoint" / "last.pt")
    assert main(tiny_words()) == 2
    assert "last.pt was written by another version; remove" in capsys.readouterr().err


# --- Other data --------------------------------------------------------------------------------------------


def test_a_set_converted_anew_is_refused_with_both_digests(
    stopped: tuple[Path, str],
    tiny: Callable[..., Path],
    tiny_words: Words,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = stopped
    before = json.loads((folder / "environment.json").read_text())["data_sha256"]
    data = tiny(1)
    now = json.loads(data.with_name("train.card.json").read_text())["digest"]
    capsys.readouterr()
    words = tiny_words()
    # The words' own fixture makes the set once; make it again behind its back.
    tiny(1)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{data} has sha256 {now}; it was {before['train']}" in said
    assert f"it was {before['test']}" in said
    assert main([*words, "--accept-changed-data"]) == 0
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["data_sha256"]["train"] == now
    assert environment["changes"][0]["changed"].startswith(str(data))
    assert "accept_changed_data = false" in (folder / "run.toml").read_text()
    # From now on it is the run's own.
    assert main(words) == 0


def test_a_finished_run_does_not_answer_for_other_data(
    tiny: Callable[..., Path], tiny_words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny_words()
    assert main(words) == 0
    data = tiny(1)
    capsys.readouterr()
    assert main(words) == 2
    assert "a run must continue with the data that it began with" in capsys.readouterr().err
    assert main([*words, "--accept-changed-data"]) == 0
    assert "note: this run was trained on other data" in capsys.readouterr().err
    data.unlink()
    assert main(words) == 0
    assert (
        "note: whether the data is still what this run was trained on isn't known" in capsys.readouterr().err
    )


def test_a_scores_file_made_anew_is_refused(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from samplers import Scores

    scores = tmp_path / "scores.npz"
    words = tiny_words("--sampler", "subset", "--sampler.scores", str(scores))
    Scores(np.arange(128, dtype=np.float32), "el2n", {}).save(scores)
    assert main(words) == 0
    Scores(np.arange(128, dtype=np.float32)[::-1].copy(), "el2n", {}).save(scores)
    (tmp_path / "runs" / "x" / "ledger.json").unlink()
    capsys.readouterr()
    assert main(words) == 2
    assert f"{scores} has sha256" in capsys.readouterr().err
