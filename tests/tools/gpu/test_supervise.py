"""Whatever a section does to its process is a result, and the sections after it still run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tools.gpu.checks.cuda_tests import ROOT
from tools.gpu.page import page, sound, verdict
from tools.gpu.sections import Section
from tools.gpu.supervise import Result, Supervisor

BEGIN = "from tools.gpu.outcome import Outcome\n\n\ndef check(setting):\n"
BODIES = {
    "good": "    print('good was here')\n    return Outcome({'smoke': setting.smoke}, notes=['a note'])\n",
    "raises": "    raise ValueError('no such kernel')\n",
    "dies": "    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "leaves": "    import os\n    print('the driver is gone', flush=True)\n    os._exit(3)\n",
    "hangs": "    import subprocess, time\n    subprocess.Popen(['sleep', '600'])\n    time.sleep(600)\n",
    "unwritable": "    return Outcome({'a tensor': object()})\n",
}


def run(
    folder: Path,
    *names: str,
    seconds: float = 600.0,
    grace: float = 60.0,
    weight: float = 1.0,
    at_start: str = "",
    starting: float = 120.0,
) -> dict[str, Result]:
    modules, out, told = folder / "modules", folder / "out", []
    modules.mkdir()
    out.mkdir()
    for name, body in BODIES.items():
        (modules / f"section_{name}.py").write_text(BEGIN + body)
    if at_start:
        (modules / "sitecustomize.py").write_text(at_start)
    results = Supervisor(
        [Section(name, name, f"section_{name}", weight if name == names[0] else 1.0) for name in names],
        seconds,
        out,
        device="cpu",
        smoke=True,
        data=None,
        environment={**os.environ, "PYTHONPATH": f"{ROOT}:{modules}"},
        tell=lambda section, result: told.append(section.name),
        grace=grace,
        starting=starting,
    ).run()
    assert sorted(told) == sorted(names)
    return results


def test_a_section_that_fails_is_a_result_and_the_others_run(tmp_path: Path) -> None:
    names = ("raises", "good", "dies", "leaves", "unwritable", "missing")
    results = run(tmp_path, *names)
    assert list(results) == list(names)
    assert {name: result["status"] for name, result in results.items()} == {
        **dict.fromkeys(names, "failed"),
        "good": "done",
    }
    assert results["raises"]["error"] == "ValueError('no such kernel')"
    assert 'raise ValueError("no such kernel")' in results["raises"]["trace"].replace("'", '"')
    assert "ended with SIGSEGV" in results["dies"]["error"]
    assert "ended with status 3" in results["leaves"]["error"]
    assert "the driver is gone" in results["leaves"]["trace"]
    assert "not JSON serializable" in results["unwritable"]["error"]
    assert "ModuleNotFoundError" in results["missing"]["error"]
    assert results["good"]["facts"]["smoke"] is True
    assert results["good"]["notes"] == ["a note"]
    assert "good was here" in (tmp_path / "out" / "console.log").read_text()


def test_a_section_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    results = run(tmp_path, "hangs", "good", grace=0.2, weight=0.0005)
    assert results["hangs"]["status"] == "failed"
    assert "took too long and was ended" in results["hangs"]["error"]
    assert results["good"]["status"] == "done"
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("at_start", "why"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "ended with SIGKILL"),
        ("import os\nos._exit(127)", "ended with status 127"),
    ],
)
def test_a_process_that_comes_to_no_section_is_no_lack_of_time(
    tmp_path: Path, at_start: str, why: str
) -> None:
    results = run(tmp_path, "good", "raises", at_start=at_start)
    assert {result["status"] for result in results.values()} == {"failed"}
    assert all(why in result["error"] for result in results.values())


def test_a_process_that_is_stuck_before_its_first_section_is_ended(tmp_path: Path) -> None:
    results = run(tmp_path, "good", at_start="import time\ntime.sleep(600)", starting=1.0)
    assert results["good"]["status"] == "failed"
    assert "took too long and was ended" in results["good"]["error"]


def test_the_first_section_runs_however_short_the_time_is(tmp_path: Path) -> None:
    results = run(tmp_path, "good", seconds=0.01)
    assert results["good"]["status"] == "done"


def test_the_page_tells_what_failed() -> None:
    failed = {
        "status": "failed",
        "error": "RuntimeError('<launch failed>')",
        "trace": "at line 1",
        "seconds": 1.0,
    }
    found = {"status": "done", "problems": ["4 wrong images"], "notes": ["no FFCV"], "seconds": 2.0}
    late = {"status": "left out", "error": "the 8 minutes were over"}
    results = {
        "sections": {"parity": failed, "streams": found, "training": late},
        "smoke": False,
        "began": "2026-11-27T12:00:00+00:00",
        "minutes": 8.0,
    }
    assert verdict(results) == "1 problem found, 1 section failed, 1 left out in 3 sections"
    assert not sound(results)
    shown = page(results)
    for words in (
        "RuntimeError(&#x27;&lt;launch failed&gt;&#x27;)",
        "4 wrong images",
        "no FFCV",
        "were over",
    ):
        assert words in shown
    assert "<script" not in shown
    assert "http" not in shown.replace("http-equiv", "")
