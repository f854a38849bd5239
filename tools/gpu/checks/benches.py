"""The project's benchmarks on the device, as by `trainer bench`."""

from __future__ import annotations

import json

from tools import cli
from tools.gpu.outcome import Outcome, Row, Setting

BENCHES: dict[str, list[str]] = {
    "step": [],
    "augment": ["--augment", "standard", "random_resized_crop", "ricap", "randaugment", "color_jitter"],
    "selection": ["--batch-size", "128", "--steps", "5"],
    "rounds": [],
}
"""Name and options of each benchmark that has a --device."""

SMOKE = {"step": ["--repeats", "1", "--steps", "1", "--augment", "standard", "--batch-size", "8"]}


def check(setting: Setting) -> Outcome:
    """Run each for an equal part of the time, and collect its rows."""
    outcome, rows = Outcome(), []
    benches = SMOKE if setting.smoke else BENCHES
    for name in setting.clock.cases(list(benches)):
        path = setting.out / f"bench-{name}.json"
        words = ["bench", name, *benches[name], "--device", setting.device, "--json", str(path)]
        status = cli.main([*words, "--minutes", f"{max(0.05, setting.clock.case_left() / 60):.3f}"])
        if status:
            outcome.problems.append(f"trainer bench {name} ended with status {status}: see console.log")
            continue
        rows += [_row(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    outcome.tables["Rows of trainer bench"] = rows
    return outcome


def _row(row: dict[str, str | float | None]) -> Row:
    return {key: row[key] for key in ("case", "peer", "ours", "theirs", "unit", "ratio")}
