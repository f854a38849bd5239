"""The tests that need a CUDA device, if pytest is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tools.gpu.outcome import Outcome, Row, Setting

ROOT = Path(__file__).parents[3]
MARK = "mark.cuda"

SMOKE_TESTS = """
import pytest

@pytest.mark.cuda
def test_runs():
    pass

@pytest.mark.cuda
@pytest.mark.skipif(True, reason="needs a CUDA device")
def test_is_skipped():
    raise AssertionError
"""

STATUS = {0: "passed", 1: "failed", 5: "found nothing to run"}


def check(setting: Setting) -> Outcome:
    """Run every test file that has the marker, including those of tests/cuda."""
    if importlib.util.find_spec("pytest") is None:
        return Outcome(
            {"pytest": None}, notes=["pytest is not installed (pip install pytest): no test was run"]
        )
    if not setting.smoke:
        return run(marked_files(ROOT), setting)
    file = setting.scratch / "test_smoke.py"
    file.write_text(SMOKE_TESTS, encoding="utf-8")
    return run([str(file)], setting)


def run(files: list[str], setting: Setting) -> Outcome:
    """Run the tests marked cuda in ``files``, absolute paths or relative to the project."""
    xml = setting.out / "tests.xml"
    words = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-m", "cuda", "-q"]
    # A file that needs a package that isn't installed must not prevent others from running.
    words += ["-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junitxml={xml}", *files]
    try:
        done = subprocess.run(words, cwd=ROOT, timeout=setting.clock.left(), check=False)
    except subprocess.TimeoutExpired as error:
        return Outcome(
            notes=[f"the tests did not end in {error.timeout:.0f} seconds; --minutes allows more time"]
        )
    outcome = Outcome({"pytest": STATUS.get(done.returncode, f"ended with status {done.returncode}")})
    _read(xml, outcome)
    return outcome


def marked_files(root: Path) -> list[str]:
    """Return the test files that have the marker, relative to ``root``."""
    tests = sorted((root / "tests").rglob("test_*.py"))
    found = [file for file in tests if MARK in file.read_text(encoding="utf-8") or "cuda" in file.parts]
    return [str(file.relative_to(root)) for file in found]


def _read(xml: Path, outcome: Outcome) -> None:
    """Count a JUnit file's tests, and collect the errors of failed ones."""
    if not xml.exists():
        outcome.problems.append("pytest wrote no results: see console.log")
        return
    counts, rows = dict.fromkeys(("passed", "failed", "error", "skipped"), 0), []
    for case in ElementTree.parse(xml).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
        kinds = {"failure": "failed", "error": "error", "skipped": "skipped"}
        kind = next((kinds[child.tag] for child in case if child.tag in kinds), "passed")
        counts[kind] += 1
        said = next((child.get("message") for child in case if child.tag in kinds), None)
        row: Row = {"test": name, "result": kind, "message": None if said is None else said[:300]}
        rows.append(row)
        if kind in ("failed", "error") and "MissingExtra" not in (said or ""):
            outcome.problems.append(f"test {name}: {(said or kind).splitlines()[0][:200]}")
    outcome.facts |= counts
    outcome.tables["Tests"] = rows
