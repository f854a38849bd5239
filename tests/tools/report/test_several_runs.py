"""The page about several runs: what they differ in, and which did better."""

from __future__ import annotations

import json
from pathlib import Path

from report_pages import FOMS, NEW, page, three, write_run

from tools.reporting import lineup, wording
from tools.reporting.folder import read_run


def test_three_runs_side_by_side(tmp_path: Path) -> None:
    made = page(*three(tmp_path))
    assert made.texts("h1") == [
        "Accuracy: uniform reached 91.2%, p_sgd 90.0% and c_sgd 92.2%, each on 6,000 trained samples "
        "with 30.0% to 33.0% of the full compute in 2 min 5 s to 2 min 30 s of training."
    ]
    rows = made.texts("tr")
    assert "uniform 91.23% 30.0% 30.0% 0.0% 2 min 5 s 48 0.4%" in rows
    minus, x = wording.MINUS, wording.TIMES
    assert (
        f"p_sgd 90.01% {minus}1.22 30.0% 1.00{x} 30.0% 1.00{x} 0.0% 2 min 30 s 1.20{x} 40 0.83{x} 0.4%"
        in rows
    )
    assert f"c_sgd 92.23% +1.00 30.0% 1.00{x} 33.0% 1.10{x} 9.1% 2 min 5 s 1.00{x} 48 1.00{x} 0.4%" in rows
    said = made.texts("li")
    assert "Matched in trained samples: 6,000 in each run, to within a batch." in said
    assert "Matched in compute, scoring included: uniform and p_sgd (30.0%); c_sgd (33.0%) is not." in said
    assert (
        "At equal trained samples compute differs: beside uniform, c_sgd took 10.0% more. Whatever "
        "this gains in accuracy is gained with more computing."
    ) in said


def test_labels_with_commas_stand_in_quotation_marks(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", FOMS, **NEW)]
    said = page(*runs).texts("li")
    assert (
        "No two runs are matched in trained samples: \u201cfoms, by compute\u201d (4,000) and "
        "\u201cno selection, by samples\u201d (6,000)." in said
    )


def test_settings_that_differ_come_first_and_the_others_are_folded(tmp_path: Path) -> None:
    made = page(*three(tmp_path))
    tables = [
        text
        for tag, attributes, text in made.elements
        if tag == "table" and attributes.get("class") == "words"
    ]
    none = wording.NONE
    assert " ".join("".join(tables[0]).split()) == (
        "The settings that differ uniform p_sgd c_sgd "
        f"sampler uniform p_sgd c_sgd sampler.warmup {none} 3 {none}"
    )
    assert "20 settings in common" in made.texts("summary")
    assert made.source.index("Settings that differ") < made.source.index("Accuracy against trained samples")
    assert "batch_size" in made.texts("dt")


def test_repeats_share_a_color_and_are_averaged(tmp_path: Path) -> None:
    p_sgd = {"sampler": {"name": "p_sgd"}}
    runs = [write_run(tmp_path / f"u{s}", {"seed": s}, 0.90 + s / 100) for s in range(3)]
    runs += [write_run(tmp_path / f"p{s}", {**p_sgd, "seed": s}, 0.92) for s in range(2)]
    made = page(*runs)
    assert made.texts("h1")[0].startswith(
        "Accuracy: uniform reached 91.0% ± 1.0 over 3 seeds and p_sgd 92.0% ± 0.0 over 2 seeds, each on 6,000"
    )
    rows = made.texts("tr")
    assert "uniform 3 91.00% 1.00 90.32%, 91.68% 91.00% ± 1.00, round 20 2 min 5 s" in rows
    assert "p_sgd 2 92.00% 0.00 92.00%, 92.00% 92.00% ± 0.00, round 20 2 min 5 s" in rows
    assert [entry.color for entry in lineup.line_up([read_run(run) for run in runs])] == [0, 0, 0, 1, 1]
    assert [item for item in made.texts("li") if "seeds" in item][:2] == [
        "uniform, 3 seeds",
        "p_sgd, 2 seeds",
    ]


def test_what_reaching_the_lowest_accuracy_took_is_told_for_each_group_of_runs(tmp_path: Path) -> None:
    p_sgd = {"sampler": {"name": "p_sgd"}}
    # Accuracies rise by 1.5 points a round: 80% is reached after 20, 16 and 12 of the 20 rounds.
    runs = [
        write_run(tmp_path / "u", {"seed": 0}, 0.80),
        write_run(tmp_path / "v", {"seed": 1}, 0.861),
        write_run(tmp_path / "p", {**p_sgd, "seed": 0}, 0.921, charge=2.0),
        write_run(tmp_path / "q", {**p_sgd, "seed": 1}, 0.5, finished=False),
    ]
    made = page(*runs)
    assert any(caption.startswith("First evaluation at 80.00% or above") for caption in made.texts("caption"))
    rows = made.texts("tr")
    assert "uniform 5,400 5,400 1 min 52 s" in rows
    assert "p_sgd 3,600 0.67x 7,200 1.33x 1 min 15 s 0.67x".replace("x", wording.TIMES) in rows
    alone = page(*runs[:2]).texts("caption")
    assert not any("First evaluation" in caption for caption in alone)


def test_runs_are_called_by_what_groups_differ_in_and_then_by_their_seeds(tmp_path: Path) -> None:
    foms, compute = {"selection": {"name": "foms"}}, {"selection": {"name": "foms"}, "counts": "compute"}
    made = [({"sampler": {"name": "p_sgd"}}, 0), ({}, 0), ({}, 1), (foms, 0), (compute, 1)]
    plain = {"sampler": {"name": "uniform"}, "selection": {"name": "all"}, "counts": "trained"}
    runs = [
        read_run(write_run(tmp_path / f"r{number}", {**plain, **table, "seed": seed}))  # type: ignore[dict-item]
        for number, (table, seed) in enumerate(made)
    ]
    lined = lineup.line_up(runs)
    uniform = "uniform, no selection, by samples"
    assert [entry.label for entry in lined] == [
        "p_sgd, no selection, by samples",
        f"{uniform}, seed 0",
        f"{uniform}, seed 1",
        "uniform, foms, by samples",
        "uniform, foms, by compute",
    ]
    assert [group.label for group in lined.groups] == [
        "p_sgd, no selection, by samples",
        uniform,
        "uniform, foms, by samples",
        "uniform, foms, by compute",
    ]


def test_the_same_run_twice_is_told_apart(run: Path, tmp_path: Path) -> None:
    made = page(run, run, out=tmp_path / "out.html")
    assert "uniform-run (1)" in made.text
    assert "uniform-run (2)" in made.text
    assert "All settings are the same." in made.texts("p")


def test_more_runs_than_colors_are_dashed(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"r{i}", {"optimizer": {"name": "sgd", "lr": i / 100}}, 0.9 + i / 1000)
        for i in range(1, 9)
    ]
    made = page(*runs)
    assert made.texts("h1")[0].startswith(
        "Accuracy: 8 runs reached 90.1% (optimizer.lr 0.01) to 90.8% (optimizer.lr 0.08), each on"
    )
    dashed = [line for line in made.attributes("line") if line.get("stroke-dasharray")]
    assert {line["class"] for line in dashed} == {"run-0", "run-1"}
    assert "stroke-dasharray" in made.source.partition("accuracy-samples")[2]


def test_unequal_runs_are_said_to_be_unequal(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a")
    other = write_run(
        tmp_path / "b", {"budget": 0.6}, trained=12_000, scored=10, score_cost=None, finished=False
    )
    environment = json.loads((other / "environment.json").read_text()) | {"cpu": "another"}
    (other / "environment.json").write_text(json.dumps(environment))
    said = page(first, other).texts("li")
    assert "No two runs are matched in trained samples: budget 0.3 (6,000) and budget 0.6 (12,000)." in said
    assert any(line.startswith("Compute is not known for every run") for line in said)
    assert any(line.startswith("Times do not compare") for line in said)
    assert any(line.startswith("An unfinished run") for line in said)
