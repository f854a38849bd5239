"""The environment and the command of a run, as its report has them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer.environment import environment


def test_facts_that_stand_together_have_a_line_each(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    run = make_run("a", {}, [0.9])
    told = {"data_sha256": {"train": "ab", "test": None}, "torch": "2.14"}
    (run / "environment.json").write_text(json.dumps({"schema": 1, **told}))
    source, _ = page(run)
    assert "<dt>data_sha256.train</dt><dd>ab</dd>" in source
    assert "<dt>data_sha256.test</dt><dd>\N{EN DASH}</dd>" in source
    assert "&#x27;train&#x27;" not in source


def test_a_command_is_recorded_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["run", "cifar10", "--name", "two  words [v2]", "--data", "it's.beton"]
    monkeypatch.setattr(sys, "argv", ["trainer", *words])
    command = environment(torch.device("cpu"))["command"]
    assert shlex.split(command) == ["trainer", *words]
