"""Two processes that train together, over gloo as torchrun would start them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from two_ranks import run_two_ranks

from pipeline.engines.protocol import thread_count
from pipeline.machine import share_of_cores
from trainer.config import Run
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.parallel import World, check_ranks_gpu, join
from trainer.recipe import dumps

PRELUDE = """
import signal, sys
from pathlib import Path
from trainer import recipe
from trainer.errors import InterruptedRunError
from trainer.loop import train
from trainer.parallel import join, leave
from trainer.run_folder import RunFolder

class Quiet:
    def converting(self, name, done, total): ...
    def note(self, text): ...
    def started(self, session, resumed): ...
    def stepped(self, session, loss, rate): ...
    def evaluated(self, session, evaluation): ...

run, out = recipe.load(sys.argv[1]), Path(sys.argv[2])
world = join(run.device)
"""

WHOLE = """
session = train(run, RunFolder(out / f"rank{world.rank}", run), world, Quiet())
session.close()
(out / f"weights{world.rank}").write_text(session.fingerprint())
(out / f"seen{world.rank}").write_text(str(session.samples.times_seen.tolist()))
leave()
"""

STOPPED = """
class Stopping(Quiet):
    # Ctrl-C reaches one rank alone, in the middle of its eleventh forward pass.
    def started(self, session, resumed):
        self.passes = 0
        if not resumed and world.rank == 1:
            session.encoder.register_forward_hook(self.stop)

    def stop(self, module, given, output):
        self.passes += 1
        if self.passes == 11:
            signal.raise_signal(signal.SIGINT)

folder = RunFolder(out / "stopped", run)
try:
    train(run, folder, world, Stopping())
except InterruptedRunError as error:
    (out / f"stopped{world.rank}").write_text(str(error))
session = train(run, folder, world, Quiet())
session.close()
(out / f"resumed{world.rank}").write_text(session.fingerprint())
session = train(run, RunFolder(out / "whole", run), world, Quiet())
session.close()
(out / f"whole{world.rank}").write_text(session.fingerprint())
leave()
"""


SMALL: dict[str, Any] = {"model": {"name": "resnet8", "width": 4}, "threads": 1}


def _run_two_ranks(program: str, run: Run, out: Path) -> None:
    file = out / "recipe.toml"
    file.write_text(dumps(run))
    run_two_ranks(PRELUDE + program, str(file), str(out))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("augment", "selection"),
    [
        ("mixup", "ordered_sgd"),
        ("ricap", "foms"),
        # It draws samples more than once, and leaves out another number of scored rows on each rank.
        ("standard", {"name": "gradient_norm", "threshold": 0.0}),
    ],
)
def test_two_ranks_end_alike_and_train_the_budget_once(
    recipe: Callable[..., Run], tmp_path: Path, augment: str, selection: str | dict[str, Any]
) -> None:
    run = recipe(sampler="p_sgd", augment=[augment], selection=selection, **SMALL, budget=0.25)
    _run_two_ranks(WHOLE, run, tmp_path)
    assert (tmp_path / "weights0").read_text() == (tmp_path / "weights1").read_text()
    assert (tmp_path / "seen0").read_text() == (tmp_path / "seen1").read_text()
    ledger = json.loads((tmp_path / "rank0" / "ledger.json").read_text())
    assert ledger["trained"] == 4 * 1280 // 4
    assert not (tmp_path / "rank1" / "ledger.json").exists()
    samples = pq.read_table(tmp_path / "rank0" / "samples.parquet").to_pydict()
    assert sum(samples["times_seen"]) == ledger["trained"]
    known = np.isfinite(samples["last_loss"])
    seen = np.array(samples["times_seen"]) > 0
    # Candidates are fed back with their scores, too.
    scores = selection not in ("all", "ordered_sgd")
    assert known.sum() > seen.sum() if scores else (known == seen).all()


@pytest.mark.slow
def test_two_ranks_train_copies_as_samples_of_their_own(recipe: Callable[..., Run], tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"multiply": 3, "multiply_classes": 0.2, "augment": ["multi"]}
    sampler = {"name": "sample_importance", "epochs": 0.5}
    run = recipe(**chosen, sampler=sampler, **SMALL, epochs=2, budget=0.5)
    _run_two_ranks(WHOLE, run, tmp_path)
    assert (tmp_path / "weights0").read_text() == (tmp_path / "weights1").read_text()
    assert (tmp_path / "seen0").read_text() == (tmp_path / "seen1").read_text()
    samples = pq.read_table(tmp_path / "rank0" / "samples.parquet").to_pydict()
    ledger = json.loads((tmp_path / "rank0" / "ledger.json").read_text())
    copies = np.bincount(samples["image"])
    assert set(copies) == {1, 3}
    assert ledger["trained"] == sum(samples["times_seen"]) == len(samples["id"]) // 64 * 64
    assert np.isfinite(samples["weight"]).all()
    line = json.loads((tmp_path / "rank0" / "evaluations.jsonl").read_text().splitlines()[-1])["metrics"]
    assert min(line["accuracy_multiplied"], line["accuracy_others"]) <= line["accuracy"]
    assert line["accuracy"] <= max(line["accuracy_multiplied"], line["accuracy_others"])


@pytest.mark.slow
def test_two_ranks_stop_together_and_go_on_to_the_same_weights(
    recipe: Callable[..., Run], tmp_path: Path
) -> None:
    # Statistics of normalization, waiting samples and a selection's memory are each rank's own.
    common: dict[str, Any] = {**SMALL, "budget": 0.25, "log_every": 2, "precision": "fp32"}
    steps: dict[str, Any] = {"accumulate": 2, "clip_norm": 1.0, "ema": 0.9, "keep_best": True}
    optimizer = {"name": "muon", "layer_decay": 0.9}
    run = recipe(sampler="p_sgd", selection="foms", optimizer=optimizer, **common, **steps)
    _run_two_ranks(STOPPED, run, tmp_path)
    for rank in range(2):
        assert "the same command goes on" in (tmp_path / f"stopped{rank}").read_text()
        assert (tmp_path / f"resumed{rank}").read_text() == (tmp_path / f"whole{rank}").read_text()
    assert (tmp_path / "whole0").read_text() == (tmp_path / "whole1").read_text()


def test_half_of_torchruns_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(RunError, match="RANK is set, so WORLD_SIZE must be too"):
        join()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (("x", "2", "0"), "RANK must be a number, as torchrun sets it; got 'x'"),
        (("0", "2", ""), "LOCAL_RANK must be a number"),
        (("0", "2", "0"), "ranks must be started by torchrun, .*MASTER_ADDR expected"),
    ],
)
def test_ranks_that_torchrun_did_not_number_are_an_error(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str, ...], line: str
) -> None:
    for name, value in zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), values, strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RunError, match=line):
        join("cpu")


def test_alone_everything_is_as_it_was() -> None:
    world = World()
    rows = np.arange(6, dtype=np.float32)
    (same,) = world.interleave([rows], [[2, 4]])
    assert same is rows
    assert world.leads
    assert world.any(True)
    assert not world.any(False)


def test_one_gpu_for_several_ranks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    line = "device must be cuda for 2 ranks, each of which takes the GPU of its own number; got cuda:1"
    with pytest.raises(RunError, match=line):
        join("cuda:1")
    with pytest.raises(RunError, match=line):
        choose_device("cuda:1", World(1, 2, 1))
    with pytest.raises(RunError, match=r"at most its 1 GPUs; this is LOCAL_RANK 1: start 1 per machine"):
        check_ranks_gpu(1, 1)
    check_ranks_gpu(1, 2)


def test_ranks_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = share_of_cores()
    assert thread_count(0) == alone
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert thread_count(0) == max(1, alone // 2)
    assert thread_count(3) == 3
