"""Commands on a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tools.cli import main

BENCHES = {
    "step": ["--repeats", "1", "--steps", "2", "--augment", "standard", "--batch-size", "8"],
    "augment": ["--repeats", "1", "--augment", "standard", "mixup", "--pixels", "32"],
    "selection": ["--cases", "impon", "--model", "resnet8", "--pixels", "16", "--repeats", "1"],
}


def test_a_run_on_a_gpu_writes_its_report(gpu: torch.device, tiny_words: Callable[..., list[str]]) -> None:
    words = tiny_words("--augment", "randaugment", "ricap", "--sampler", "p_sgd")
    words[words.index("--device") + 1] = str(gpu)
    assert main(words) == 0
    folder = Path(words[words.index("--runs-dir") + 1]) / "x"
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["finished"]
    assert ledger["phases"]["forward"] > 0
    assert (folder / "report.html").exists()


def test_a_small_network_on_a_gpu_is_bound_by_launches(
    gpu: torch.device, tiny_words: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A step of 16 images of 8 x 8 pixels is some hundred kernels of microseconds."""
    words = ["profile", *tiny_words("--seconds", "5", "--tries", "0", "--out", str(tmp_path / "page"))[1:]]
    words[words.index("--device") + 1] = str(gpu)
    assert main(words) == 0
    assert json.loads((tmp_path / "page" / "profile.json").read_text())["bottleneck"] == "launches"


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_measures_on_the_gpu(name: str, gpu: torch.device, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    words = ["bench", name, *BENCHES[name], "--device", str(gpu), "--json", str(out), "--minutes", "0.5"]
    assert main(words) == 0
    assert all(row["ours"] > 0 for row in json.loads(out.read_text()))
