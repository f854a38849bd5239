"""The report page, made from run folders that are really there and read back as a browser would."""

from __future__ import annotations

import doctest
import io
import json
import math
import os
import re
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.errors import DataError
from tools.arguments import UsageError, parse
from tools.report import Report, write_report
from tools.reporting import bars, figures, lineup, markup, settings, verdict, wording
from tools.reporting.folder import read_run
from tools.reporting.samples import class_probabilities, spread
from trainer.errors import RunError
from trainer.sample_table import entropy

N, T, BUDGET, BATCH = 1000, 20, 0.3, 100
STEPS = 60
CLASSES = ["shirt", "coat", "bag"]
VOID = {"meta", "br", "col"}
HOSTILE = """</title></style><script>alert(1)</script><img src="http://x/y"> '"&$x^2$"""

RECIPE: dict[str, Any] = {
    "recipe": "fashion_mnist_cpu",
    "data": "fashion_mnist",
    "budget": BUDGET,
    "epochs": T,
    "batch_size": BATCH,
    "seed": 0,
    "runs_dir": "runs",
    "model": {"name": "resnet8", "width": 16},
    "sampler": {"name": "uniform"},
    "schedule": {"name": "linear", "final": 1e-5},
    "augment": [{"name": "standard", "pad": 4}, {"name": "ricap", "alpha": 0.3}],
}
PHASES = {
    "wait": 0.5,
    "copy": 1.0,
    "augment": 4.0,
    "score": 0.0,
    "forward": 40.0,
    "backward": 60.0,
    "optimise": 10.0,
    "feedback": 2.0,
    "sampler": 1.5,
    "evaluate": 12.0,
    "checkpoint": 3.0,
}


def write_run(
    path: Path,
    recipe: dict[str, Any] | None = None,
    accuracy: float = 0.9123,
    charge: float = 1.0,
    **ledger: Any,
) -> Path:
    """Write a finished run of 60 steps; 119 of its 125 seconds are in phases on the training clock.

    ``charge`` is what its evaluations charge a trained sample, with all that was scored for it.
    """
    path.mkdir(parents=True)
    (path / "run.toml").write_text(tomli_w.dumps({**RECIPE, **(recipe or {})}))
    environment = {
        "schema": 1,
        "torch": "2.14.1",
        "cpu": "a CPU",
        "gpu": None,
        "command": f"trainer run fashion_mnist_cpu --name {path.name}",
        "started": "2025-11-21T22:20:00+00:00",
    }
    (path / "environment.json").write_text(json.dumps(environment))
    with (path / "steps.jsonl").open("w") as file:
        for step in range(10, STEPS + 1, 10):
            p = step / STEPS
            line = {"step": step, "round": int(p * T), "samples": step * BATCH, "progress": p}
            line |= {"lr": 0.1 * (1 - p), "loss": 2 - p, "seconds": 125 * p, "rate": 48.0}
            file.write(json.dumps(line) + "\n")
    with (path / "evaluations.jsonl").open("w") as file:
        for round_ in range(1, T + 1):
            p = round_ / T
            line = {"step": int(p * STEPS), "round": round_, "samples": int(p * STEPS) * BATCH, "progress": p}
            line |= {"seconds": 125 * p, "accuracy": accuracy - 0.3 * (1 - p), "loss": 0.4}
            line["compute"] = line["samples"] * charge
            file.write(json.dumps(line) + "\n")
    counts: dict[str, Any] = {
        "schema": 1,
        "finished": True,
        "budget": BUDGET,
        "planned": STEPS * BATCH,
        "trained": STEPS * BATCH,
        "scored": 0,
        "evaluated": 3000,
        "steps": STEPS,
        "rounds": T,
        "full_budget_samples": N * T,
        "phases": PHASES,
        "compile_seconds": 0.0,
        "train_seconds": 125.0,
        "wall_seconds": 140.0,
        "stall": 0.004,
        "score_cost": None,
        "parameters": 78042,
        "weights": "0123456789abcdef" * 4,
    }
    (path / "ledger.json").write_text(json.dumps(counts | ledger))
    write_samples(path, CLASSES)
    return path


def write_samples(path: Path, classes: list[str] | None) -> None:
    """Half of the samples seen 4 times, half 8 times, but for the last one, which was never seen."""
    label = np.arange(N) % 3
    seen = np.where(np.arange(N) < N // 2, 4, 8)
    probability = np.array([0.5, 0.75, 0.9])[label].astype(np.float32)
    seen[-1], probability[-1] = 0, np.nan
    metadata = {"schema": "1"} | ({"classes": json.dumps(classes)} if classes else {})
    columns = {"id": np.arange(N), "label": label, "times_seen": seen, "mean_probability": probability}
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path / "samples.parquet")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "uniform-run")


class Page(HTMLParser):
    """A parsed page: its elements with their attributes and text, and whether all of them are closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[int] = []
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag in ("td", "th", "span"):
            self.handle_data(" ")
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.elements[index][2].append(data)

    def texts(self, tag: str) -> list[str]:
        found = ["".join(text) for name, _, text in self.elements if name == tag]
        return [" ".join(text.replace(wording.SPACE, " ").split()) for text in found]

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def text(self) -> str:
        return self.texts("main")[0]


def page(*runs: Path, out: Path | None = None) -> Page:
    return Page(write_report(runs, out))


# --- The page as a whole ---------------------------------------------------------------------------------


def three(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", {"sampler": {"name": "p_sgd", "warmup": 3}}, 0.9001, train_seconds=150.0),
        write_run(tmp_path / "c", {"sampler": {"name": "c_sgd"}}, 0.9223, scored=2000, score_cost=0.3),
    ]


@pytest.mark.parametrize("several", [False, True])
def test_the_page_loads_nothing_and_runs_nothing(tmp_path, several):
    runs = three(tmp_path) if several else [write_run(tmp_path / "a")]
    made = page(*runs)
    assert "http:" not in made.source
    assert "https:" not in made.source
    assert "@import" not in made.source
    assert not {"script", "img", "link", "iframe", "object", "embed", "base"} & {
        tag for tag, _, _ in made.elements
    }
    policies = [
        meta for meta in made.attributes("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies[0]["content"].startswith("default-src 'none'")
    for _, attributes, _ in made.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", made.source))


@pytest.mark.parametrize("several", [False, True])
def test_ids_are_unique_and_references_lead_somewhere(tmp_path, several):
    made = page(*(three(tmp_path) if several else [write_run(tmp_path / "a")]))
    ids = [attributes["id"] for _, attributes, _ in made.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in made.elements:
        named = attributes.get("aria-labelledby", "").split()
        clipped = re.findall(r"url\(#([^)]*)\)", attributes.get("clip-path", ""))
        linked = [attributes["href"][1:]] if "href" in attributes else []
        assert {*named, *clipped, *linked} <= set(ids)


@pytest.mark.parametrize("several", [False, True])
def test_every_drawing_has_a_text_alternative(tmp_path, several):
    made = page(*(three(tmp_path) if several else [write_run(tmp_path / "a")]))
    titles = {
        attributes["id"]: text
        for tag, attributes, text in made.elements
        if tag in ("title", "desc") and "id" in attributes
    }
    drawings = [
        attributes for attributes in made.attributes("svg") if attributes.get("aria-hidden") != "true"
    ]
    plots = [attributes for attributes in drawings if "aria-labelledby" in attributes]
    assert len(plots) == 5 + several  # of several runs also the speed-up
    for attributes in drawings:
        assert attributes["role"] == "img"
        if attributes in plots:
            assert all("".join(titles[name]).strip() for name in attributes["aria-labelledby"].split())
        else:
            assert attributes["aria-label"].strip()
    assert "The numbers" in made.texts("summary")
    assert all(caption for caption in made.texts("caption"))
    assert len(made.texts("caption")) == len(made.texts("table"))


def test_plots_are_coloured_by_the_style_sheet_in_real_text(run):
    made = page(run)
    style = made.texts("style")[0]
    plots = made.source.partition("</style>")[2]
    assert not re.search(r"(?:fill|stroke): #", plots)
    for name in set(re.findall(r"var\((--[\w-]+)\)", made.source)):
        assert f"{name}:" in style, name
    assert "trained samples, thousands" in made.texts("text")


def test_same_runs_same_page(run, tmp_path):
    assert page(run, out=tmp_path / "1.html").source == page(run, out=tmp_path / "2.html").source


def luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_on_light_and_on_dark_paper():
    """WCAG 2.1: contrast of at least 4.5 for text and 3 for lines."""
    style = resources.files("tools.reporting").joinpath("style.css").read_text(encoding="utf-8")
    for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        paper = luminance(colours["paper"])
        for name, colour in colours.items():
            bright, dim = sorted((luminance(colour), paper), reverse=True)
            contrast = (bright + 0.05) / (dim + 0.05)
            if name in ("ink", "muted", "accent", "notice"):
                assert contrast >= 4.5, name
            elif name.startswith("run-"):
                assert contrast >= 3, name


# --- One run ---------------------------------------------------------------------------------------------


def test_headline_says_what_it_cost_and_what_it_bought(run):
    assert page(run).texts("h1") == [
        "Accuracy 91.2% after 30% of the full budget: 6,000 of 20,000 samples trained, 30.0% of the full "
        "compute, 2 min 5 s of training, stall 0.4%."
    ]


def test_figures_from_the_files_appear(run):
    made = page(run)
    tiles = dict(zip(made.texts("dt"), made.texts("dd")[::2], strict=False))
    assert tiles["Accuracy"] == "91.23%"
    assert tiles["Trained samples"] == "6,000"
    assert tiles["Compute"] == "30.0%"
    assert tiles["Training time"] == "2 min 5 s"
    assert tiles["Rate"] == "48"
    assert tiles["Stall"] == "0.4%"
    assert tiles["Parameters"] == "78,042"
    rows = made.texts("tr")
    assert "forward forward pass and losses 40.0 32.0%" in rows
    assert "other what lies between the phases 6.0 4.8%" in rows
    assert "training clock 125.0 100.0%" in rows
    assert "evaluate metrics on the test set 12.0 9.6%" in rows
    assert not any(row.startswith("score ") for row in rows)
    assert "Evaluated 3,000" in rows
    assert "The budget counts samples trained" in rows
    assert "spent of it 100.0%" in rows
    assert "Digest of the last weights 0123456789ab" in rows
    assert "step 60 6,000 6,000 2 min 5 s 91.23% 0.4000" in rows
    assert "step 10 16.7% 1.8333 0.0833 48" in rows
    assert "trainer run fashion_mnist_cpu --name uniform-run" in made.text
    assert "augment.ricap.alpha" in made.texts("dt")
    assert "standard + ricap" in made.texts("dd")
    assert "2.14.1" in made.texts("dd")
    assert "never the best" in made.text
    assert "aside" not in {tag for tag, _, _ in made.elements}


def test_entropy_and_counts_by_hand(run):
    total = 4 * 500 + 8 * 499
    expected = -(500 * 4 / total * math.log(4 / total) + 499 * 8 / total * math.log(8 / total))
    made = page(run)
    assert (
        f"This run {expected:.3f} {math.log(N):.3f} {math.exp(expected):.0f} of 1,000 1 (0.1%) 0, 4, 8"
        in (made.texts("tr"))
    )
    rows = made.texts("tr")
    assert [row for row in rows if row in ("0 1", "4 500", "8 499", "5 0")] == [
        "0 1",
        "4 500",
        "5 0",
        "8 499",
    ]


def test_hardest_class_comes_first(run):
    rows = [row for row in page(run).texts("tr") if row.startswith(tuple(CLASSES))]
    assert rows == ["shirt 0.500", "coat 0.750", "bag 0.900"]


def test_classes_without_names_have_numbers(run):
    write_samples(run, None)
    assert "class 0 0.500" in page(run).texts("tr")


def test_many_classes_fold_away(tmp_path):
    run = write_run(tmp_path / "a")
    table = pq.read_table(run / "samples.parquet")
    labels = pa.array(np.arange(N) % 25)
    pq.write_table(
        table.set_column(1, "label", labels).replace_schema_metadata({"schema": "1"}), run / "samples.parquet"
    )
    made = page(run)
    assert any(caption.startswith("The 10 hardest of 25 classes") for caption in made.texts("caption"))
    assert sum(row.startswith("class ") for row in made.texts("tr")) == 10 + 25


def test_nothing_from_a_file_is_markup(tmp_path):
    recipe = {"data": HOSTILE, "sampler": {"name": HOSTILE}, HOSTILE: HOSTILE, "augment": [{"name": HOSTILE}]}
    hostile = [
        write_run(tmp_path / name, {**recipe, "model": {"name": f"{name}{HOSTILE}"}}, phases={HOSTILE: 1.0})
        for name in ("a<b>", "c&d")
    ]
    for run in hostile:
        write_samples(run, [HOSTILE, f"$\\frac{{1}}$ {HOSTILE}", "\ud800 \x00"])
        (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE, "command": HOSTILE}))
    for made in (page(hostile[0], out=tmp_path / "1.html"), page(*hostile, out=tmp_path / "2.html")):
        assert not {"script", "img"} & {tag for tag, _, _ in made.elements}
        assert "<script>alert(1)</script>" in made.text
        assert len(made.texts("title")) > 1
        assert HOSTILE in made.texts("code")


# --- Several runs ----------------------------------------------------------------------------------------


def test_three_runs_side_by_side(tmp_path):
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


NEW: dict[str, Any] = {
    "counts": "compute",
    "planned": 6000,
    "trained": 4000,
    "scored": 5000,
    "trained_at": {"16": 1000, "32": 3000},
    "scored_at": {"16": 4000, "32": 1000},
    "score_costs": {"16": 0.1, "32": 0.35},
    "score_cost": 0.1,
    "spent": 4000.0,
    "compute": 4000.0,
    "charged": 0,
    "forward_flops": 2e9,
    "flops": 2.4e13,
}
"""What a ledger adds since budgets count compute: 750 steps of scoring in 4,000 of compute."""
FOMS = {"selection": {"name": "foms", "ratio": 2.0}, "counts": "compute"}


def test_both_ways_of_counting_stand_on_a_page(tmp_path):
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


def test_a_pass_that_was_not_measured_is_charged_as_a_third(tmp_path):
    scores = {**NEW, "score_costs": {}, "score_cost": None, "scored_at": {"32": 3000}, "scored": 3000}
    record = read_run(write_run(tmp_path / "a", FOMS, **scores))
    assert record.scoring == pytest.approx(1000)
    assert "one costs a third of a training step, not measured" in verdict.scoring_gloss(record)


def test_runs_of_equal_compute_are_matched_to_two_percent(tmp_path):
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


def test_labels_with_commas_stand_in_quotation_marks(tmp_path):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", FOMS, **NEW)]
    said = page(*runs).texts("li")
    assert (
        "No two runs are matched in trained samples: \u201cfoms, by compute\u201d (4,000) and "
        "\u201cno selection, by samples\u201d (6,000)." in said
    )


def test_resolution_by_round_is_that_of_the_schedule_at_each_rounds_beginning(tmp_path):
    options = {"lowest": 16, "pixels": 1.0, "step": 8, "magnitude": [0.5, 1.5]}
    ledger = {"trained_at": {"16": 2000, "24": 2000, "32": 2000}, "compute": 3500.0, "counts": "trained"}
    run = write_run(tmp_path / "a", {"resolution": {"name": "progressive", **options}}, **ledger)
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
def test_a_resolution_that_is_not_understood_leaves_the_samples(tmp_path, options):
    run = write_run(tmp_path / "a", {"resolution": options}, trained_at={"16": 3000, "32": 3000})
    assert "32 3,000 50.0%" in page(run).texts("tr")


def test_folders_of_earlier_versions_are_read_with_what_those_versions_did(tmp_path):
    old = read_run(write_run(tmp_path / "a", scored=2000, score_cost=0.3))
    assert (old.counts, old.compute, old.scoring) == ("trained", 6600, 600)
    made = page(tmp_path / "a", write_run(tmp_path / "b", FOMS, **NEW), out=tmp_path / "out.html")
    assert "selection all foms" in made.texts("tr")
    assert "resolution" not in [row.split(" ")[0] for row in made.texts("tr")]
    assert f"FLOPs, whole run {wording.NONE} 24 TFLOP" in made.texts("tr")


def test_accuracy_is_drawn_against_compute_where_that_is_not_training_alone(tmp_path):
    plain = write_run(tmp_path / "plain")
    assert [title for title in page(plain).texts("figcaption") if title.startswith("Accuracy")] == [
        "Accuracy against trained samples",
        "Accuracy against wall-clock",
    ]
    made = page(plain, write_run(tmp_path / "foms", FOMS, charge=1.4), out=tmp_path / "out.html")
    assert "Accuracy against compute" in made.texts("figcaption")
    assert f"step {STEPS} 6,000 8,400 2 min 5 s 91.23% 0.4000" in made.texts("tr")


def test_evaluations_of_earlier_versions_have_no_compute_to_draw(tmp_path):
    run = write_run(tmp_path / "a")
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    for line in lines:
        del line["compute"]
    (run / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = page(run)
    assert "Accuracy against compute" not in made.texts("figcaption")
    assert f"step {STEPS} 6,000 {wording.NONE} 2 min 5 s 91.23% 0.4000" in made.texts("tr")


def test_settings_that_differ_come_first_and_the_others_are_folded(tmp_path):
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
    assert "19 settings in common" in made.texts("summary")
    assert made.source.index("Settings that differ") < made.source.index("Accuracy against trained samples")
    assert "batch_size" in made.texts("dt")


def test_repeats_share_a_colour_and_are_averaged(tmp_path):
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
    assert [entry.colour for entry in lineup.line_up([read_run(run) for run in runs])] == [0, 0, 0, 1, 1]
    assert [item for item in made.texts("li") if "seeds" in item][:2] == [
        "uniform, 3 seeds",
        "p_sgd, 2 seeds",
    ]


def test_what_reaching_the_lowest_accuracy_took_is_told_for_each_group_of_runs(tmp_path):
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


def test_runs_are_called_by_what_groups_differ_in_and_then_by_their_seeds(tmp_path):
    foms, compute = {"selection": {"name": "foms"}}, {"selection": {"name": "foms"}, "counts": "compute"}
    made = [({"sampler": {"name": "p_sgd"}}, 0), ({}, 0), ({}, 1), (foms, 0), (compute, 1)]
    plain = {"sampler": {"name": "uniform"}, "selection": {"name": "all"}, "counts": "trained"}
    runs = [
        read_run(write_run(tmp_path / f"r{number}", {**plain, **table, "seed": seed}))
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


def test_the_same_run_twice_is_told_apart(run, tmp_path):
    made = page(run, run, out=tmp_path / "out.html")
    assert "uniform-run (1)" in made.text
    assert "uniform-run (2)" in made.text
    assert "All settings are the same." in made.texts("p")


def test_more_runs_than_colours_are_dashed(tmp_path):
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


def test_unequal_runs_are_said_to_be_unequal(tmp_path):
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


# --- What is not there -----------------------------------------------------------------------------------


def test_an_unfinished_run_is_reported_as_such(run):
    (run / "samples.parquet").unlink()
    for name, lines in (("steps.jsonl", 3), ("evaluations.jsonl", 8)):
        kept = (run / name).read_text().splitlines(keepends=True)[:lines]
        (run / name).write_text("".join(kept) + '{"step": 9')
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | {"finished": False, "trained": 3000, "steps": 30}))
    made = page(run)
    assert made.texts("h1")[0].startswith(
        "Unfinished, accuracy 73.2% so far, on the way to 30% of the full budget"
    )
    assert (
        "3,000 of 6,000 (50.0%) samples of its budget of 30% are trained after step 30"
        in made.texts("aside")[0]
    )
    assert "samples.parquet is missing" in made.texts("aside")[0]
    assert "steps.jsonl" not in made.texts("aside")[0]


def test_a_run_that_has_only_begun(run, tmp_path):
    for file in run.iterdir():
        if file.name != "run.toml":
            file.unlink()
    made = page(run)
    assert "it has logged no step yet" in made.text
    missing = (
        "environment.json is missing, ledger.json is missing, steps.jsonl is missing, evaluations.jsonl is"
    )
    assert missing in made.text
    assert "No evaluation is recorded." in made.text
    other = page(run, write_run(tmp_path / "b", {"lr": 0.2}), out=tmp_path / "out.html")
    assert "b reached 91.2%" in other.texts("h1")[0]
    assert page(run, run, out=tmp_path / "out.html").texts("h1") == [
        "2 runs, none of which has been evaluated yet."
    ]


FILES = ["environment.json", "ledger.json", "steps.jsonl", "evaluations.jsonl", "samples.parquet"]
DAMAGE = [
    b"",
    b"[1]\n",
    b"{}\n",
    b"{\n",
    b"\xff\xfe\x00\n",
    b'{"step": "x", "loss": NaN, "accuracy": null}\n',
]


@pytest.mark.parametrize("name", FILES)
def test_each_file_may_be_missing_or_damaged(run, tmp_path, name):
    whole = (run / name).read_bytes()
    other = write_run(tmp_path / "other", {"lr": 0.3})
    (run / name).unlink()
    assert f"{name} is missing" in page(run).text
    for damage in [*DAMAGE, whole[: len(whole) // 2], whole.replace(b":", b" ", 1)]:
        (run / name).write_bytes(damage)
        assert "What each run cost" in page(run, other, out=tmp_path / "both.html").text


@pytest.mark.parametrize(
    ("name", "damage"), [("ledger.json", b"{"), ("samples.parquet", b"PAR1"), ("steps.jsonl", b"\xff")]
)
def test_damage_is_named(run, name, damage):
    (run / name).write_bytes(damage)
    assert f"{name} can't be read" in page(run).text


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_a_fault_and_not_waited_for(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    assert f"{name} can't be read" in page(run).text


def test_lines_that_cannot_be_read_are_counted(run):
    with (run / "steps.jsonl").open("a") as file:
        file.write("nonsense\n[]\n")
    assert "2 of steps.jsonl's 8 lines can't be read" in page(run).text


@pytest.mark.parametrize(
    "values",
    [
        {"trained": None, "phases": None},
        {"trained": 0, "train_seconds": 0, "full_budget_samples": 0, "planned": 0, "stall": 0},
        {"trained": 10**400, "phases": {"wait": float("inf"), "forward": "x"}, "stall": float("nan")},
        {"phases": {}, "budget": "x", "steps": True},
        {"phases": dict.fromkeys(PHASES, 0.0)},
        {"phases": {"wait": -1.0, "unheard_of": 3.0}},
        {"counts": 3, "compute": "x", "trained_at": [1], "scored_at": {"x": 1, "8": None}, "flops": -1},
        {"counts": "compute", "compute": 0, "trained_at": {"8": 0, "16": 0}, "score_costs": {"8": "y"}},
    ],
)
def test_strange_ledgers_do_not_break_the_page(run, tmp_path, values):
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | values))
    page(run)
    page(run, write_run(tmp_path / "b", {"lr": 0.2}), out=tmp_path / "both.html")


def test_samples_of_other_types_are_a_fault(run):
    table = pa.table({"label": ["x"], "times_seen": [1], "mean_probability": [0.5]})
    pq.write_table(table, run / "samples.parquet")
    assert "samples.parquet can't be read" in page(run).text
    pq.write_table(pa.table({"label": [1]}), run / "samples.parquet")
    assert "samples.parquet can't be read" in page(run).text


def test_nothing_seen_and_nothing_there(run):
    columns = {
        "label": np.zeros(3, int),
        "times_seen": np.zeros(3, int),
        "mean_probability": np.full(3, np.nan),
    }
    pq.write_table(pa.table(columns), run / "samples.parquet")
    assert "3 (100.0%)" in page(run).text
    pq.write_table(pa.table({name: column[:0] for name, column in columns.items()}), run / "samples.parquet")
    assert "No per-sample record is there." in page(run).text


def test_an_evaluation_that_is_not_of_the_last_round_is_pointed_out(run):
    kept = (run / "evaluations.jsonl").read_text().splitlines(keepends=True)[:-1]
    (run / "evaluations.jsonl").write_text("".join(kept))
    assert "The last evaluation was made at step 57 of 60" in page(run).texts("aside")[0]


def test_overlapping_phases_are_pointed_out(run):
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | {"phases": PHASES | {"forward": 90.0}}))
    assert bars.OVERLAP_NOTE in page(run).texts("p")


def test_what_is_not_a_run_is_an_error_of_one_line(run, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = write_run(tmp_path / "broken")
    (broken / "run.toml").write_text("lr = = 1\n")
    newer = write_run(tmp_path / "newer", schema=3)
    newest = write_run(tmp_path / "newest")
    pq.write_table(
        pq.read_table(run / "samples.parquet").replace_schema_metadata({"schema": "9"}),
        newest / "samples.parquet",
    )
    for path, message in (
        (tmp_path / "nowhere", "nowhere does not exist"),
        (file, "file is a file"),
        (empty, "empty holds no run.toml"),
        (tmp_path, f"holds no run.toml: name a folder in it, as {tmp_path / 'broken'}"),
        (broken, "run.toml must be TOML"),
        (newer, "ledger.json must be of schema 2 or older; got 3: update budgetrain"),
        (newest, "samples.parquet must be of schema 2 or older; got 9"),
    ):
        with pytest.raises(RunError, match=re.escape(message)) as error:
            write_report([run, path], tmp_path / "out.html")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out.html").exists()
    with pytest.raises(RunError, match="at least one run folder"):
        write_report([])


# --- Where the page goes ---------------------------------------------------------------------------------


def test_where_the_page_goes(run, tmp_path, monkeypatch):
    other = write_run(tmp_path / "elsewhere" / "b")
    assert write_report([run]) == run / "report.html"
    assert write_report([run, other]).resolve() == run.parent / "report.html"
    assert write_report([run], tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    monkeypatch.chdir(run)
    assert page(Path()).texts("h1")[0].startswith("Accuracy 91.2%")
    assert write_report([Path(), other]).resolve() == run.parent / "report.html"


def test_a_page_that_cannot_be_written_is_an_error(run, tmp_path):
    with pytest.raises(RunError, match="out must be a file; got the folder"):
        write_report([run], tmp_path)
    with pytest.raises(DataError, match=r"report.html can't be written"):
        write_report([run], run / "run.toml" / "report.html")


def test_a_page_that_was_there_is_replaced_whole(run):
    (run / "report.html").write_text("old")
    assert "<!doctype html>" in page(run).source
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_the_command_says_where_the_page_is(run, tmp_path):
    out = io.StringIO()
    command = parse(Report, [str(run), "--out", str(tmp_path / "page.html")], "trainer report")
    assert command.execute(Console(file=out, width=20)) == 0
    assert out.getvalue() == f"report: {tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").is_file()


def test_the_command_replaces_nothing_but_pages(run, tmp_path):
    before = (run / "samples.parquet").read_bytes()
    for out, message in (
        (run / "samples.parquet", "--out must end in .html; got .*: name one such as report.html"),
        (run, "--out must end in .html"),
        (run / "run.toml" / "x.html", "--out must be in a folder that can be written to"),
    ):
        command = parse(Report, [str(run), "--out", str(out)], "trainer report")
        with pytest.raises(UsageError, match=message):
            command.execute(Console(file=io.StringIO()))
    assert (run / "samples.parquet").read_bytes() == before


def test_a_copied_folder_gives_the_same_figures(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert page(copy).texts("h1") == page(run).texts("h1")


# --- Pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [wording, settings])
def test_examples_in_docstrings(module: ModuleType):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_entropy_is_that_of_the_counts_as_a_distribution(counts):
    total = sum(counts)
    slow = -sum(c / total * math.log(c / total) for c in counts if c) if total else 0.0
    found = entropy(np.array(counts, np.int64))
    assert found == pytest.approx(slow, abs=1e-12)
    assert -1e-12 <= found <= math.log(len(counts)) + 1e-12


def test_equal_counts_have_the_highest_entropy(run):
    samples = read_run(run).samples
    samples.times_seen[:] = 7
    found = spread(samples)
    assert found.entropy == pytest.approx(found.highest_entropy)
    assert found.effective_samples == pytest.approx(N)


def test_class_probabilities_leave_out_what_was_never_seen(run):
    samples = read_run(run).samples
    samples.mean_probability[:] = np.nan
    samples.mean_probability[:4] = [0.2, 0.4, 0.6, 0.8]
    assert class_probabilities(samples) == {0: 0.5, 1: 0.4, 2: 0.6}


@given(st.integers(3, 2000), st.integers(3, 50))
def test_thinning_keeps_the_ends_and_the_mean_between(n, most):
    values = np.arange(n, dtype=float)
    thinned = figures.thin(values, most)
    assert len(thinned) == min(n, most)
    assert (thinned[0], thinned[-1]) == (0, n - 1)
    assert np.all(np.diff(thinned) > 0)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_bins_hold_every_count_once(counts):
    values = np.array(counts, np.int64)
    edges = figures.bins([values, values[:1]])
    assert len(edges) <= 42
    assert len(set(np.diff(edges))) == 1
    assert edges[0] == values.min()
    assert edges[-1] > values.max()
    assert np.histogram(values, bins=edges)[0].sum() == len(values)


def test_ticks_and_units():
    assert [figures.tick(v) for v in (0, 0.025, 90, 1500, 2_000_000, 1e-6)] == [
        "0",
        "0.025",
        "90",
        "1,500",
        "2,000,000",
        "1e-06",
    ]
    units = ((1.0, "seconds"), (60.0, "minutes"))
    assert [figures.unit(v, units)[1] for v in (0, 119, 120)] == ["seconds", "seconds", "minutes"]


def test_attributes_and_text_are_escaped():
    made = markup.el("p", "<b>", markup.el("i", None, ["a", ["&"]]), title='"<', class_="x", id=None)
    assert made == '<p title="&quot;&lt;" class="x">&lt;b&gt;<i>a&amp;</i></p>'


def test_unfinished_without_a_plan(run):
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | {"planned": None, "steps": None, "finished": False}))
    assert verdict.unfinished(read_run(run)).startswith(
        "This run is unfinished: 6,000 samples of its budget of 30% are trained after step 60."
    )
