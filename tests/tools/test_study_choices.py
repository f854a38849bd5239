"""Choices of a study, trained for real."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tools.cli import main
from tools.studying.cells import Cell, Place, final_cells, trial_cells
from tools.studying.definition import read_study
from tools.studying.selecting import choices, chosen
from tools.studying.state import load_state

STUDY = """
title = "Does p_sgd pay on noise?"
recipe = "fashion_mnist_cpu"
seeds = [0]

[settings]
data = "small"
model = { name = "resnet8", width = 4 }
batch_size = 16
epochs = 6
budget = 0.5
precision = "fp32"
device = "cpu"
threads = 1

[grid]
sampler = ["uniform", "p_sgd"]

[choose]
per = "sampler"
trials = 2

[choose.settings]
"optimizer.lr" = [1e-6, 0.05]

[data.small]
of = "tiny"
samples = 96
validation = 0.5
"""


def run(cell: Cell) -> None:
    cell.write_recipe()
    assert main(["run", str(cell.recipe)]) == 0


def test_settings_are_chosen_on_held_out_samples(tiny_directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "noise.toml"
    path.write_text(STUDY)
    study, place = read_study(str(path)), Place(tmp_path / "runs", tiny_directory)
    trials = trial_cells(study, place)
    for cells in trials.values():
        study.subsets["small"].make(cells[0].run, lambda name, done, total: None)
        for cell in cells:
            run(cell)
    folder = place.folder(study)
    for cell in final_cells(study, place, chosen(choices(trials, load_state(study, folder)))):
        run(cell)
    assert (
        main(["study", str(path), "--runs-dir", str(place.runs_dir), "--data-dir", str(tiny_directory)]) == 0
    )
    text = (folder / "study.md").read_text()
    assert "2 trials per sampler on held-out training samples chose settings" in text
    with (folder / "choices.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["choice"] for row in rows] == ["uniform", "uniform", "p_sgd", "p_sgd"]
    assert sum(row[""] == "chosen" for row in rows) == 2
    digests = {
        name: json.loads((folder / name / "environment.json").read_text())["data_sha256"]
        for name in ("choose-p_sgd-1", "p_sgd-s0")
    }
    assert digests["choose-p_sgd-1"]["train"] == digests["p_sgd-s0"]["train"]
    assert digests["choose-p_sgd-1"]["test"] != digests["p_sgd-s0"]["test"]
