"""Two processes that train together, over gloo as torchrun would start them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from trainer.config import Run
from trainer.errors import RunError
from trainer.parallel import World, join
from trainer.recipe import dumps

RANK = """
import sys
from pathlib import Path
from trainer import recipe
from trainer.loop import train
from trainer.parallel import join, leave
from trainer.record import RunFolder

class Quiet:
    def converting(self, name, done, total): ...
    def started(self, session, resumed): ...
    def stepped(self, session, loss, rate): ...
    def evaluated(self, session, evaluation): ...

run, out = recipe.load(sys.argv[1]), Path(sys.argv[2])
world = join()
session = train(run, RunFolder(out / f"rank{world.rank}", run), world, Quiet())
session.close()
(out / f"weights{world.rank}").write_text(session.fingerprint())
(out / f"seen{world.rank}").write_text(str(session.samples.times_seen.tolist()))
leave()
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


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
    run = recipe(sampler="p_sgd", augment=[augment], selection=selection, threads=1, budget=0.25)
    file = tmp_path / "recipe.toml"
    file.write_text(dumps(run))
    port = str(_free_port())
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(file), str(tmp_path)],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    assert (tmp_path / "weights0").read_text() == (tmp_path / "weights1").read_text()
    assert (tmp_path / "seen0").read_text() == (tmp_path / "seen1").read_text()
    ledger = json.loads((tmp_path / "rank0" / "ledger.json").read_text())
    assert ledger["trained"] == 4 * 1280 // 4
    assert not (tmp_path / "rank1" / "ledger.json").exists()
    samples = pq.read_table(tmp_path / "rank0" / "samples.parquet").to_pydict()
    assert sum(samples["times_seen"]) == ledger["trained"]
    heard = np.isfinite(samples["last_loss"])
    seen = np.array(samples["times_seen"]) > 0
    # Candidates are heard of by their scores, too.
    scores = selection not in ("all", "ordered_sgd")
    assert heard.sum() > seen.sum() if scores else (heard == seen).all()


def test_half_of_torchruns_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(RunError, match="RANK is set, so WORLD_SIZE must be too"):
        join()


def test_alone_everything_is_as_it_was() -> None:
    world = World()
    rows = np.arange(6, dtype=np.float32)
    assert world.interleave(rows, [2, 4]) is rows
    assert world.leads
    assert world.any(True)
    assert not world.any(False)
