"""Elements of the page: entropy, bins, ticks, markup."""

from __future__ import annotations

import doctest
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_pages import N

from tools.reporting import figures, markup, settings, verdict, wording
from tools.reporting.folder import read_run
from tools.reporting.samples import class_probabilities, spread
from trainer.sample_table import entropy


@pytest.mark.parametrize("module", [wording, settings])
def test_examples_in_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_entropy_is_that_of_the_counts_as_a_distribution(counts: Any) -> None:
    total = sum(counts)
    slow = -sum(c / total * math.log(c / total) for c in counts if c) if total else 0.0
    found = entropy(np.array(counts, np.int64))
    assert found == pytest.approx(slow, abs=1e-12)
    assert -1e-12 <= found <= math.log(len(counts)) + 1e-12


def test_equal_counts_have_the_highest_entropy(run: Path) -> None:
    samples = read_run(run).samples
    samples.times_seen[:] = 7
    found = spread(samples)  # type: ignore[arg-type]
    assert found.entropy == pytest.approx(found.highest_entropy)
    assert found.effective_samples == pytest.approx(N)


def test_class_probabilities_leave_out_what_was_never_seen(run: Path) -> None:
    samples = read_run(run).samples
    samples.mean_probability[:] = np.nan
    samples.mean_probability[:4] = [0.2, 0.4, 0.6, 0.8]
    assert class_probabilities(samples) == {0: 0.5, 1: 0.4, 2: 0.6}  # type: ignore[arg-type]


@given(st.integers(3, 2000), st.integers(3, 50))
def test_thinning_keeps_the_ends_and_the_mean_between(n: Any, most: Any) -> None:
    values = np.arange(n, dtype=float)
    thinned = figures.thin(values, most)
    assert len(thinned) == min(n, most)
    assert (thinned[0], thinned[-1]) == (0, n - 1)
    assert np.all(np.diff(thinned) > 0)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_bins_hold_every_count_once(counts: Any) -> None:
    values = np.array(counts, np.int64)
    edges = figures.bins([values, values[:1]])
    assert len(edges) <= 42
    assert len(set(np.diff(edges))) == 1
    assert edges[0] == values.min()
    assert edges[-1] > values.max()
    assert np.histogram(values, bins=edges)[0].sum() == len(values)


def test_ticks_and_units() -> None:
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


def test_attributes_and_text_are_escaped() -> None:
    made = markup.el("p", "<b>", markup.el("i", None, ["a", ["&"]]), title='"<', class_="x", id=None)
    assert made == '<p title="&quot;&lt;" class="x">&lt;b&gt;<i>a&amp;</i></p>'


def test_unfinished_without_a_plan(run: Path) -> None:
    ledger = json.loads((run / "ledger.json").read_text())
    (run / "ledger.json").write_text(json.dumps(ledger | {"planned": None, "steps": None, "finished": False}))
    assert verdict.unfinished(read_run(run)).startswith(
        "This run is unfinished: 6,000 samples of its budget of 30% are trained after step 60."
    )
