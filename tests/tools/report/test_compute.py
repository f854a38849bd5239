"""Ways of counting what a run cost, on the page and in the figures behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_pages import FOMS, NEW, STEPS, page, write_run

from tools.reporting import verdict, wording
from tools.reporting.folder import read_run


def test_both_ways_of_counting_stand_on_a_page(tmp_path: Path) -> None:
    made = page(write_run(tmp_path / "a", FOMS, **NEW))
    assert made.texts("h1")[0].startswith(
        "Accuracy 91.2% after 30% of the full budget in compute: 4,000 of 20,000 samples trained, "
        "20.0% of the full compute"
    )
    tiles = list(zip(made.texts("dt"), *(made.texts("dd")[i::2] for i in (0, 1)), strict=False))
    assert ("Trained samples", "4,000", "20.0% of the full training's") in tiles
    assert ("Compute", "20.0%", "of the full training's; the budget counts this") in tiles
    assert ("Scoring", "18.8%", "of compute, 5,000 samples; one costs 0.10 of a training step") in tiles
    assert ("FLOPs", "24 TFLOP", "of the whole run, forward and backward") in tiles
    rows = made.texts("tr")
    assert "of it scoring 18.8%" in rows
    assert "The budget counts compute" in rows
    assert "spent of it 66.7%" in rows
    assert "FLOPs, one image forward 2 GFLOP" in rows
    assert [row for row in rows if row.startswith(("16 ", "32 "))] == [
        "16 1,000 25.0%",
        "32 3,000 75.0%",
        "16 4,000 80.0% 0.10",
        "32 1,000 20.0% 0.35",
    ]
    assert "selection.ratio" in made.texts("dt")
    assert "foms" in made.texts("p")[0]


def test_a_pass_that_was_not_measured_is_charged_as_a_third(tmp_path: Path) -> None:
    scores = {**NEW, "score_costs": {}, "score_cost": None, "scored_at": {"32": 3000}, "scored": 3000}
    record = read_run(write_run(tmp_path / "a", FOMS, **scores))
    assert record.scoring == pytest.approx(1000)
    assert "one costs a third of a training step by assumption" in verdict.scoring_gloss(record)


def test_a_pass_that_was_not_measured_is_charged_by_the_flops_of_the_methods_step(tmp_path):  # type: ignore[no-untyped-def]
    """A method whose step is five forward passes, scored at half the size: a quarter of the FLOPs."""
    scores = {**NEW, "score_costs": {"32": 0.3}, "score_cost": None, "scored_at": {"16": 4000, "32": 1000}}
    scores |= {"step_flops": 1e10, "forward_costs": {"16": 0.25, "32": 1.0}, "train_costs": {"16": 0.3}}
    record = read_run(write_run(tmp_path / "a", FOMS, **scores))
    assert record.scoring == pytest.approx(4000 * 0.25 / 5 + 1000 * 0.3)
    assert record.score_cost == (pytest.approx(0.05), "counted")  # type: ignore[comparison-overlap]
    assert "one costs 0.05 of a training step by FLOPs, not measured" in verdict.scoring_gloss(record)
    without = read_run(write_run(tmp_path / "b", FOMS, **{**scores, "forward_costs": None}))
    assert without.score_cost == (pytest.approx(0.06), "counted")  # type: ignore[comparison-overlap]


def test_runs_of_equal_compute_are_matched_to_two_percent(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", compute=6000.0, counts="trained")]
    runs += [
        write_run(
            tmp_path / name,
            {"selection": {"name": "foms", "ratio": ratio}},
            compute=compute,
            counts="trained",
        )
        for name, ratio, compute in (("b", 2.0, 6119.0), ("c", 3.0, 6121.0))
    ]
    said = page(*runs[:2], out=tmp_path / "1.html").texts("li")
    assert "Matched in compute, scoring included, to within 2%." in said
    assert not any(line.startswith("At equal trained samples") for line in said)
    said = page(runs[0], runs[2], out=tmp_path / "2.html").texts("li")
    assert (
        "No two runs are matched in compute, scoring included: no selection (30.0%) and foms (30.6%)." in said
    )
    assert any("beside no selection, foms took 2.0% more" in line for line in said)


def test_resolution_by_round_is_that_of_the_schedule_at_each_rounds_beginning(tmp_path: Path) -> None:
    options = {"lowest": 16, "pixels": 1.0, "step": 8, "magnitude": [0.5, 1.5]}
    ledger = {"trained_at": {"16": 2000, "24": 2000, "32": 2000}, "compute": 3500.0, "counts": "trained"}
    run = write_run(tmp_path / "a", {"resolution": {"name": "progressive", **options}}, **ledger)  # type: ignore[arg-type]
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    # Six rounds that each end at their line: the third begins at 2/6, in the second of three stages.
    told = [json.dumps({**line, "round": i}) for i, line in enumerate(lines)]
    (run / "steps.jsonl").write_text("\n".join(told) + "\n")
    rows = page(run).texts("tr")
    x = wording.TIMES
    assert [row for row in rows if x in row] == [
        f"1 to 2 16 0.50{x}",
        f"3 to 4 24 1.00{x}",
        f"5 to 6 32 1.50{x}",
    ]
    assert "24 2,000 33.3%" in rows


@pytest.mark.parametrize(
    "options", [{"name": "unheard_of"}, {"name": "progressive", "lowest": "x"}, {"name": 3}, 4]
)
def test_a_resolution_that_is_not_understood_leaves_the_samples(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    run = write_run(tmp_path / "a", {"resolution": options}, trained_at={"16": 3000, "32": 3000})
    assert "32 3,000 50.0%" in page(run).texts("tr")


def test_folders_of_earlier_versions_are_read_with_what_those_versions_did(tmp_path: Path) -> None:
    old = read_run(write_run(tmp_path / "a", scored=2000, score_cost=0.3))
    assert (old.counts, old.compute, old.scoring) == ("trained", 6600, 600)
    made = page(tmp_path / "a", write_run(tmp_path / "b", FOMS, **NEW), out=tmp_path / "out.html")
    assert "selection all foms" in made.texts("tr")
    assert "resolution" not in [row.split(" ")[0] for row in made.texts("tr")]
    assert f"FLOPs, whole run {wording.NONE} 24 TFLOP" in made.texts("tr")


def test_accuracy_is_drawn_against_compute_where_that_is_not_training_alone(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain")
    assert [title for title in page(plain).texts("figcaption") if title.startswith("Accuracy")] == [
        "Accuracy against trained samples",
        "Accuracy against wall-clock",
    ]
    made = page(plain, write_run(tmp_path / "foms", FOMS, charge=1.4), out=tmp_path / "out.html")
    assert "Accuracy against compute" in made.texts("figcaption")
    assert f"step {STEPS} 6,000 8,400 2 min 5 s 91.23% 0.4000" in made.texts("tr")


def test_evaluations_of_earlier_versions_have_no_compute_to_draw(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    for line in lines:
        del line["compute"]
    (run / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = page(run)
    assert "Accuracy against compute" not in made.texts("figcaption")
    assert f"step {STEPS} 6,000 {wording.NONE} 2 min 5 s 91.23% 0.4000" in made.texts("tr")
