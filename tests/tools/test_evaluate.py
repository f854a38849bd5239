"""``trainer evaluate``: the run's own figures, on any set of its classes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.cli import main


def evaluated(run: Path, data: Path | str, out: Path, *more: str) -> dict[str, Any]:
    assert main(["evaluate", str(run), str(data), "--device", "cpu", "--json", str(out), *more]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("name", ["square", "varied"])
def test_the_runs_own_figures_come_out_of_its_test_set_and_of_the_files_it_was_made_from(
    photographs: Any, name: str, tmp_path: Path
) -> None:
    run: Path = getattr(photographs, name)
    last = json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["metrics"]
    own = evaluated(run, photographs.data(run), tmp_path / "own.json")
    assert own["accuracy"] == last["accuracy"]
    assert own["loss"] == pytest.approx(last["loss"], rel=1e-5)
    files = evaluated(run, photographs.folder, tmp_path / "files.json")
    assert files["confusion"] == own["confusion"]
    assert files["loss"] == pytest.approx(own["loss"], rel=1e-5)
    assert [row["images"] for row in own["classes"]] == [7, 7, 7]


def test_classes_are_matched_by_name_and_a_stranger_is_one_line(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = evaluated(photographs.square, photographs.folder, tmp_path / "own.json")
    few = tmp_path / "few"
    shutil.copytree(photographs.folder / "test" / "red", few / "red")
    shutil.copytree(photographs.folder / "test" / "light", few / "light")
    found = evaluated(photographs.square, few, tmp_path / "few.json")
    assert found["confusion"][1:] == own["confusion"][1:]
    assert found["classes"][0]["recall"] is None
    assert "has no images of 1 of the 3 classes: 'dark'" in capsys.readouterr().err
    (few / "light").rename(few / "blue")
    assert main(["evaluate", str(photographs.square), str(few)]) == 2
    said = capsys.readouterr().err
    assert "has 1 of 2 that are not: 'blue', and the network knows 'dark', 'light', 'red'" in said
    assert said.count("\n") == 1


def test_a_row_per_class_and_tables(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(
        photographs.varied, photographs.folder, tmp_path / "x.json", "--csv", str(tmp_path / "x.csv")
    )
    with (tmp_path / "x.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["dark", "light", "red"]
    assert [[int(row[f"predicted {name}"]) for name in ("dark", "light", "red")] for row in rows] == found[
        "confusion"
    ]
    said = capsys.readouterr().out
    assert f"{found['accuracy']:.2%}" in said
    assert "confusion matrix" in said


def test_test_time_augmentation_averages_probabilities(photographs: Any, tmp_path: Path) -> None:
    plain = evaluated(photographs.varied, photographs.folder, tmp_path / "a.json")
    flipped = evaluated(photographs.varied, photographs.folder, tmp_path / "b.json", "--tta", "flip")
    both = evaluated(
        photographs.varied,
        photographs.data(photographs.varied),
        tmp_path / "c.json",
        "--tta",
        "flip",
        "crops",
    )
    assert both["tta"] == ["flip", "crops"]
    assert len({found["loss"] for found in (plain, flipped, both)}) == 3
    assert np.sum(both["confusion"]) == 21


def test_what_is_no_run_is_one_line(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path), str(photographs.folder)]) == 2
    assert "a run folder must hold run.toml" in capsys.readouterr().err
    lost = tmp_path / "lost"
    shutil.copytree(photographs.square, lost)
    shutil.rmtree(lost / "checkpoint")
    assert main(["evaluate", str(lost), str(photographs.folder)]) == 2
    said = capsys.readouterr().err
    assert "a run folder must hold a checkpoint" in said
    assert said.count("\n") == 1
    assert main(["evaluate", str(photographs.square), str(tmp_path / "none.beton")]) == 2
    assert "none.beton must exist" in capsys.readouterr().err


def test_averaged_weights_and_the_best_checkpoint_are_those_that_the_run_evaluated(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(photographs.square / "run.toml")
    words = [
        "--ema",
        "0.9",
        "--keep-best",
        "--name",
        "averaged",
        "--runs-dir",
        str(tmp_path),
        "--epochs",
        "2",
    ]
    assert main(["run", recipe, *words]) == 0
    run = tmp_path / "averaged"
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    last = evaluated(run, photographs.data(photographs.square), tmp_path / "last.json")
    assert last["loss"] == pytest.approx(lines[-1]["metrics"]["loss"], rel=1e-5)
    best = evaluated(run, photographs.data(photographs.square), tmp_path / "best.json", "--best")
    assert best["accuracy"] == max(line["metrics"]["accuracy"] for line in lines)
    assert main(["evaluate", str(photographs.square), str(photographs.folder), "--best"]) == 2
    assert "the best checkpoint is kept by runs with --keep-best" in capsys.readouterr().err
