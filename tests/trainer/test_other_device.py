"""A run that goes on elsewhere than it began: restored as far as that goes, and noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.cli import main
from trainer import checkpoint
from trainer.hardware.device import random_state, restore_random_state

Words = Callable[..., list[str]]


def test_a_cpus_random_numbers_go_on_on_a_gpu_which_has_none_yet() -> None:
    states = random_state(torch.device("cpu"))
    drawn = torch.rand(3)
    # No GPU is needed.
    restore_random_state(states, torch.device("cuda"))
    assert torch.equal(torch.rand(3), drawn)


def forged(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Make a finished run one that is under way, with another state."""
    path = folder / "checkpoint" / "last.pt"
    checkpoint.save(path, change(checkpoint.load(path)))
    (folder / "ledger.json").unlink()


def test_a_gpus_run_goes_on_on_a_cpu(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words()) == 0
    folder = tmp_path / "runs" / "x"
    environment = json.loads((folder / "environment.json").read_text())
    elsewhere = {"device": "cuda:0", "gpu": "NVIDIA A100", "torch": "2.7.0"}
    (folder / "environment.json").write_text(json.dumps({**environment, **elsewhere}))

    def of_a_gpu(state: dict[str, Any]) -> dict[str, Any]:
        random = {**state["ranks"][0]["random"], "cuda": torch.zeros(16, dtype=torch.uint8)}
        return {**state, "ranks": [{**state["ranks"][0], "random": random}]}

    forged(folder, of_a_gpu)
    capsys.readouterr()
    assert main(tiny_words()) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "note: this run began with torch 2.7.0, device cuda:0, gpu NVIDIA A100 and continues with" in said


@pytest.mark.parametrize("bf16", [True, False])
def test_the_precision_that_a_run_began_with_is_kept(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], bf16: bool
) -> None:
    words = tiny_words("--precision", "auto")
    assert main(words) == 0
    here = "cpu bf16" in capsys.readouterr().out
    forged(tmp_path / "runs" / "x", lambda state: {**state, "bf16": bf16})
    assert main(words) == 0
    said = capsys.readouterr()
    precision = "bf16" if bf16 else "fp32"
    assert f"cpu {precision}" in said.out
    assert (f"note: precision {precision} is kept" in said.err) == (bf16 != here)
