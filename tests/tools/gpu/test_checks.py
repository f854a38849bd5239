"""Every section of the GPU check runs on a CPU, as small as it can be, and finds nothing wrong."""

from __future__ import annotations

import doctest
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tools.gpu.outcome
import tools.gpu.page
from pipeline import AUGMENTS
from tools.bench.clock import Clock
from tools.gpu.checks.cuda_tests import ROOT, marked_files
from tools.gpu.checks.cuda_tests import run as run_tests
from tools.gpu.checks.loop import bound
from tools.gpu.checks.parity import SMOKE_SHAPES
from tools.gpu.outcome import Setting
from tools.gpu.page import page
from tools.gpu.sections import SECTIONS, Section
from tools.gpu.sessions import Window
from tools.gpu.timing import Launches
from tools.gpu.worker import Job

TABLES = {
    "machine": {"Upper limits of the device's rates": 6},
    "parity": {
        "Largest difference of a pixel, and fraction of pixels that differ": len(SMOKE_SHAPES)
        * (len(AUGMENTS) + 1)
    },
    "waits": {"5 steps of batches of 64, without the log's": 1},
    "streams": {"Sums of images against the data set's own, and memory reserved": 1},
    "resume": {},
    "cuda_tests": {"Tests": 2},
    "plain": {"ResNet-18 on 32 pixels, bf16 autocast": 1},
    "loop": {"Steps, and what bounds them": 1, "Milliseconds per step, by phase": 1},
    "augmentation": {"Milliseconds per batch, each part alone": 1},
    "benches": {"Rows of trainer bench": 1},
}
"""Rows of each section's tables; those of the others depend on the run's phases."""


def smoke(section: Section, out: Path) -> dict[str, Any]:
    """Run a section as its process does, in this one; returns its result."""
    messages = out / "messages"
    pipe = os.open(messages, os.O_WRONLY | os.O_CREAT)
    words = (section.name, section.module, section.weight)
    scratch = out / "scratch"
    scratch.mkdir()
    job = Job([words], 600.0, pipe, device="cpu", smoke=True, out=str(out), scratch=str(scratch), data=None)
    assert job.run() == 0
    begun, ended = [json.loads(line) for line in messages.read_text().splitlines()]
    assert begun == {"section": section.name, "share": pytest.approx(600, abs=5)}
    result: dict[str, Any] = ended["result"]
    return result


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_runs_and_finds_nothing_wrong(section: Section, tmp_path: Path) -> None:
    result = smoke(section, tmp_path)
    assert result["status"] == "done", result["trace"]
    assert result["problems"] == []
    rows = {caption: len(table) for caption, table in result["tables"].items()}
    assert all(rows.values())
    if section.name in TABLES:
        assert rows == TABLES[section.name]
    _OF_SECTION.get(section.name, lambda _: None)(result)
    shown = page({"sections": {section.name: result}, "smoke": True, "began": "now", "minutes": 8})
    assert section.title in shown
    assert all(caption in shown for caption in result["tables"] if "'" not in caption)


def _parity(result: dict[str, Any]) -> None:
    (table,) = result["tables"].values()
    assert {row["case"].partition(",")[0] for row in table} == set(AUGMENTS)
    # The same arithmetic on the same device differs in nothing.
    assert all(row["most"] == 0 and row["equal"] and row["channels_last"] for row in table)


def _streams(result: dict[str, Any]) -> None:
    ((row,),) = result["tables"].values()
    assert (row["engine"], row["rounds"], row["wrong images"]) == ("resident", 5, 0)


def _accounts(result: dict[str, Any]) -> None:
    (table,) = result["tables"].values()
    assert {"forward, 8", "backward, 8", "all phases, 8"} <= {row["phase, batch size"] for row in table}
    # Phases lie within the clock, however busy the machine is.
    assert 0 < table[-1]["fraction of the clock"] <= 1


def _resume(result: dict[str, Any]) -> None:
    facts = result["facts"]
    assert facts["steps"] == facts["steps in two parts"] == 12
    assert facts["stopped after step 6"]
    assert facts["same weights, bit for bit"]
    assert facts["same samples"]
    assert facts["largest difference of a loss, relative"] == 0


def _cuda_tests(result: dict[str, Any]) -> None:
    facts = result["facts"]
    assert (facts["passed"], facts["skipped"]) == (1, 1)
    assert facts["failed"] == facts["error"] == 0


def _loop(result: dict[str, Any]) -> None:
    ((row,), (phases,)) = result["tables"].values()
    assert row["bound by"] in ("data", "the processor")
    assert row["images/s"] == pytest.approx(8e3 / row["ms"])
    assert {"forward", "backward"} <= set(phases)


def _benches(result: dict[str, Any]) -> None:
    ((row,),) = result["tables"].values()
    assert row["case"] == "step/standard"


def _training(result: dict[str, Any]) -> None:
    facts = result["facts"]
    assert (facts["data"], facts["samples"], facts["epochs"]) == ("drawn", 64, 2)
    assert facts["what trainer profile finds"].startswith("Training")
    assert 0 <= facts["accuracy"] <= 1
    assert facts["images/s"] > 0


_OF_SECTION = {
    "parity": _parity,
    "streams": _streams,
    "accounts": _accounts,
    "resume": _resume,
    "cuda_tests": _cuda_tests,
    "loop": _loop,
    "benches": _benches,
    "training": _training,
}


def test_every_file_with_a_cuda_test_is_run() -> None:
    found = marked_files(ROOT)
    assert {"tests/pipeline/engines/test_resident.py", "tests/cuda/test_streams.py"} <= set(found)
    assert "tests/tools/report/test_page.py" not in found


def test_a_test_that_fails_is_a_problem(tmp_path: Path) -> None:
    mark = "import pytest\n\n@pytest.mark.cuda\n"
    (tmp_path / "test_a.py").write_text(f"{mark}def test_x():\n    assert 1 + 1 == 3, 'no luck'\n")
    (tmp_path / "test_b.py").write_text(f"import no_such_package\n{mark}def test_x(): ...\n")
    (tmp_path / "test_c.py").write_text(f"{mark}def test_x(): ...\n")
    setting = Setting("cpu", True, Clock(600), tmp_path, tmp_path)
    outcome = run_tests([str(tmp_path / f"test_{letter}.py") for letter in "abc"], setting)
    assert outcome.facts == {"pytest": "failed", "passed": 1, "failed": 1, "error": 1, "skipped": 0}
    assert len(outcome.problems) == 2
    assert any("no luck" in problem for problem in outcome.problems)


@pytest.mark.parametrize(
    ("host", "whole", "wait", "busy", "by"),
    [
        (2.0, 10.0, 1.5, 9.5, "the device"),
        (10.0, 10.0, 0.5, 9.5, "the device"),
        (5.0, 10.0, 0.5, 8.0, "the device, 80% busy"),
        (9.9, 10.0, 0.5, 4.0, "launches: the device is 40% busy"),
        (9.9, 10.0, 5.0, 4.0, "data"),
        (10.0, 10.0, 5.0, None, "data"),
        (10.0, 10.0, 0.5, None, "the processor"),
    ],
)
def test_what_bounds_a_step(host: float, whole: float, wait: float, busy: float | None, by: str) -> None:
    launched = None if busy is None else Launches(100, 5, busy, ())
    assert bound(Window(host, whole, whole, {"wait": wait}), launched) == by


@pytest.mark.parametrize("module", [tools.gpu.outcome, tools.gpu.page])
def test_examples_in_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0
