"""A run that diverges says so, wherever that happens, and what it writes is JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.formats.strict_json import dumps
from tools.bench.measure import Row, write
from tools.cli import main
from trainer.config import Run
from trainer.errors import DivergedError
from trainer.session import Session
from trainer.state import save

Words = Callable[..., list[str]]


def strictly(text: str) -> Any:
    """Parse JSON as its standard has it, which Python's own parser does only when told."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} isn't JSON")

    return json.loads(text.encode("utf-8").decode("utf-8"), parse_constant=refuse)


def all_parse(folder: Path) -> int:
    """Parse every file of JSON under a folder; returns how many values there were."""
    values = 0
    for path in folder.rglob("*.json"):
        strictly(path.read_text())
        values += 1
    for path in folder.rglob("*.jsonl"):
        values += len([strictly(line) for line in path.read_text().splitlines()])
    return values


def test_numbers_that_json_does_not_have_are_null() -> None:
    table = {"nan": float("nan"), "inf": [np.float64("inf"), -float("inf")], "deep": ({"x": float("nan")},)}
    assert strictly(dumps(table)) == {"nan": None, "inf": [None, None], "deep": [{"x": None}]}
    assert strictly(dumps({"name": "caf\udce9"})) == {"name": "caf\\udce9"}
    assert strictly(dumps({"a": [1, 2.5, True, None, "é"]}, indent=2)) == {"a": [1, 2.5, True, None, "é"]}


def test_a_run_that_diverges_in_its_last_step_has_status_3(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One step: its loss is that of the weights before it.
    words = tiny_words(
        "--optimizer.lr", "1e38", "--epochs", "0.125", "--budget", "1", "--schedule", "constant"
    )
    assert main(words) == 3
    said = capsys.readouterr().err
    assert "must be finite" in said
    assert said.count("\n") == 1
    folder = tmp_path / "runs" / "x"
    assert not (folder / "ledger.json").exists()
    assert all_parse(folder) > 0
    assert main(words) == 3


def test_no_checkpoint_holds_weights_that_are_not_finite(
    recipe: Callable[..., Run], train_run: Callable[..., Session], tiny: Callable[..., Path]
) -> None:
    session = train_run(
        recipe(data=str(tiny()), batch_size=16, epochs=1, model={"name": "resnet8", "width": 4})
    )
    last = session.folder.checkpoint
    before = last.read_bytes()
    # A statistic alone is enough: evaluation goes by it.
    next(value for name, value in session.encoder.named_buffers() if "var" in name)[0] = float("inf")
    with pytest.raises(DivergedError, match=f"running_var isn't after step .*last good checkpoint: {last}"):
        save(session)
    assert last.read_bytes() == before


def test_every_file_of_a_run_is_strict_json(
    tiny: Callable[..., Path], tiny_words: Words, tmp_path: Path
) -> None:
    data = tiny()
    # kakurenbo's samples that were never seen have no loss; a compute budget measures costs.
    words = tiny_words(
        "--sampler", "p_sgd", "--selection", "foms", "--selection.start", "0", "--counts", "compute"
    )
    assert main(words) == 0
    folder = tmp_path / "runs" / "x"
    assert main(["report", str(folder), "--out", str(tmp_path / "report.html")]) == 0
    assert main(["advise", str(folder), "--json", str(tmp_path / "advice.json")]) == 0
    profile = ["profile", *tiny_words()[1:], "--seconds", "0.1", "--tries", "0"]
    assert main([*profile, "--out", str(tmp_path / "profile")]) == 0
    write([Row("step", "peer", 1.0, float("nan"), "s", float("inf"))], tmp_path / "rows.json")
    assert strictly((tmp_path / "rows.json").read_text())[0]["ratio"] is None
    assert all_parse(tmp_path) > 10
    assert strictly(data.with_name("train.card.json").read_text())["samples"] == 128
