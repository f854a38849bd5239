"""The page about one run: every figure of its files appears."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from report_pages import CLASSES, N, page, write_run, write_samples


def test_headline_says_what_it_cost_and_what_it_bought(run: Path) -> None:
    assert page(run).texts("h1") == [
        "Accuracy 91.2% after 30% of the full budget: 6,000 of 20,000 samples trained, 30.0% of the full "
        "compute, 2 min 5 s of training, stall 0.4%."
    ]


def test_figures_from_the_files_appear(run: Path) -> None:
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


def test_entropy_and_counts_by_hand(run: Path) -> None:
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


def test_hardest_class_comes_first(run: Path) -> None:
    rows = [row for row in page(run).texts("tr") if row.startswith(tuple(CLASSES))]
    assert rows == ["shirt 0.500", "coat 0.750", "bag 0.900"]


def test_classes_without_names_have_numbers(run: Path) -> None:
    write_samples(run, None)
    assert "class 0 0.500" in page(run).texts("tr")


def test_many_classes_fold_away(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    table = pq.read_table(run / "samples.parquet")
    labels = pa.array(np.arange(N) % 25)
    pq.write_table(
        table.set_column(1, "label", labels).replace_schema_metadata({"schema": "1"}), run / "samples.parquet"
    )
    made = page(run)
    assert any(caption.startswith("The 10 hardest of 25 classes") for caption in made.texts("caption"))
    assert sum(row.startswith("class ") for row in made.texts("tr")) == 10 + 25
