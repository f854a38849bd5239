"""Runs that are killed anywhere, by what gives no warning, end in the weights of those that are not."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import start_command

from tools.cli import main

Words = Callable[..., list[str]]

SAMPLERS = ("p_sgd", "rs2", "c_sgd", "infobatch", "kakurenbo", "mcl", "sample_importance")
AUGMENTS = (("standard",), ("standard", "mixup"), ("standard", "ricap"), ("standard", "randaugment"))
SELECTIONS = ("all", "foms", "selective_backprop", "ordered_sgd", "divbs", "greedy")
ENGINES = ("resident", "ffcv")
SERVICES = ("inline", "thread", "process")
CASES = list(itertools.product(SAMPLERS, AUGMENTS, SELECTIONS, ENGINES, SERVICES))


def weights(folder: Path) -> str:
    digest: str = json.loads((folder / "ledger.json").read_text())["weights"]
    return digest


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])
def test_killed_runs_end_in_the_same_weights(tiny_words: Words, tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    runs = tmp_path / "runs"
    for number in range(kills):
        sampler, augment, selection, engine, service = chance.choice(CASES)
        parts = ["--sampler", sampler, "--augment", *augment, "--selection", selection, "--engine", engine]
        # With a lead a sampler hears less before it draws, which is another run.
        parts += ["--lead", str(chance.choice((0, 2)))]
        more = ["--service", service, "--checkpoint-seconds", "0"]
        length = ["--epochs", "24", "--budget", "0.5"]
        assert main(tiny_words(*length, *parts, "--name", f"whole-{number}")) == 0
        words = tiny_words(*length, *parts, *more, "--name", f"killed-{number}")
        folder = runs / f"killed-{number}"
        wanted = chance.randrange(1, 90)
        run = start_command(words)
        # Somewhere after this many steps: in a step, a checkpoint, an evaluation or between two renames.
        while run.exitcode is None:
            log = folder / "steps.jsonl"
            if log.exists() and log.read_bytes().count(b"\n") >= wanted:
                break
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        run.kill()
        run.join()
        assert main(words) == 0, words
        assert weights(folder) == weights(runs / f"whole-{number}"), words
