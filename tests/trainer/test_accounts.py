"""A run's books: every pass within its budget, FLOPs that nothing measured bears on, coefficients, ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from samplers import Feedback
from trainer import checkpoint
from trainer.account import Account
from trainer.budget.costs import Costs
from trainer.build import build
from trainer.config import Run
from trainer.data import open_data
from trainer.errors import RunError
from trainer.methods import METHODS
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.sample_table import SampleRecord
from trainer.selection.pool import Rows
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]


def test_scores_that_a_sampler_asks_for_stay_within_a_compute_budget(
    recipe: Recipe, train_run: Train
) -> None:
    kakurenbo = {"name": "kakurenbo", "fraction": 0.9}
    session = train_run(recipe(sampler=kakurenbo, counts="compute", epochs=6, budget=0.5))
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    assert ledger["scored"] > 0
    assert ledger["spent"] == pytest.approx(ledger["trained"] + ledger["score_cost"] * ledger["scored"])
    assert ledger["planned"] - 64 < ledger["spent"] <= ledger["planned"] + 1e-6
    assert session.folder.read("steps.jsonl")[-1]["lr"] < 1e-4


def test_a_round_at_whose_resolution_no_step_is_affordable_makes_none(
    recipe: Recipe, train_run: Train
) -> None:
    # Rounds of a step: four at a quarter of the cost bring the run past half of its budget, to full
    # resolution; what is left then is more than a step cost so far, and less than one costs now.
    halves = {"resolution": {"name": "progressive", "lowest": 14, "step": 14}, "round_length": 0.05}
    run = recipe(counts="compute", epochs=1, budget=0.095, model={"name": "resnet8", "width": 4}, **halves)
    account = train_run(run).account
    assert account.ledger.trained_at == {14: 4 * 64}
    assert account.step_cost(14) < account.total - account.spent < account.step_cost(28)


def test_flops_are_those_of_the_passes_whatever_they_were_measured_to_take() -> None:
    account = Account(1000, 1000, 10, "compute", Costs({32: 1.0, 16: 0.25}, charged=7))
    account.charge("trained", 100, 32)
    account.charge("trained", 40, 16)
    account.charge("scored", 200, 16)
    for cost in (0.01, 0.9):
        account.ledger.score_costs = {16: cost}
        assert account.forward_passes == 3 * (7 + 100 + 10) + 50


def test_a_last_loss_is_one_that_had_a_coefficient() -> None:
    record = SampleRecord.empty(2)
    ids, ones = np.array([0, 0, 1]), np.ones(3, np.bool_)
    loss, coefficient = np.array([0.1, 9.0, 5.0], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
    record.observe(Feedback(1, ids, loss, np.exp(-loss), ones, coefficient))
    assert record.last_loss[0] == np.float32(0.1)
    assert np.isnan(record.last_loss[1])


@pytest.mark.parametrize("constituents", [1, 2])
def test_errors_of_well_learned_samples_are_exact(constituents: int) -> None:
    gaps = torch.linspace(0, 18, 16)[:, None]
    outputs = torch.cat((gaps, torch.zeros(16, 4)), dim=1)
    labels = torch.tensor([[0, 1]])[:, :constituents].expand(16, -1)
    p = outputs.double().softmax(dim=1)
    onehot = torch.nn.functional.one_hot(labels, 5)
    expected = (p[:, None] - onehot).norm(dim=2)
    errors = METHODS["supervised"]().build(nn.Identity()).losses(outputs, labels).error
    assert errors is not None
    torch.testing.assert_close(errors.double(), expected, rtol=1e-5, atol=0)


def test_waiting_rows_hold_no_more_memory_than_their_own() -> None:
    targets = {"label": torch.zeros(64, dtype=torch.int64)}
    pool = Rows(np.arange(64), torch.zeros(64, 3, 8, 8), targets, torch.ones(64))
    rest = pool[60:].apart()
    assert rest is not None
    assert rest.images.untyped_storage().nbytes() == 4 * 3 * 8 * 8 * 4
    assert rest.weights is not None
    assert rest.weights.untyped_storage().nbytes() == 16
    assert rest.targets["label"].untyped_storage().nbytes() == 32
    assert pool[64:].apart() is None


def test_a_batch_that_ranks_cannot_share_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    run = recipe(batch_size=33)
    folder = RunFolder(tmp_path / "run", run)
    data = open_data(run, World(), lambda name, done, total: None)
    with pytest.raises(RunError, match="--batch-size must be a multiple of the 2 ranks; got 33: take 34"):
        build(run, folder, data, World(0, 2), torch.device("cpu"))


def test_a_run_of_other_ranks_is_not_gone_on_with(recipe: Recipe, train_run: Train) -> None:
    run = recipe(budget=0.1)
    session = train_run(run)
    path = session.folder.checkpoint
    state = checkpoint.load(path)
    checkpoint.save(path, {**state, "ranks": state["ranks"] * 2})
    (session.folder.path / "ledger.json").unlink()
    with pytest.raises(
        RunError, match="must go on with the 2 ranks that it began with; got 1: start it with"
    ):
        train_run(run)


def test_an_evaluation_that_is_made_again_stands_once(recipe: Recipe, tmp_path: Path) -> None:
    run = recipe()
    folder = RunFolder(tmp_path / folder_name(run), run)
    folder.begin()
    for step, rounds in ((10, 1), (20, 2)):
        folder.append("evaluations.jsonl", {"step": step, "round": rounds})
    # Saved at the second round's last step, before the round was over.
    folder.rewind(15, 10)
    assert folder.read("evaluations.jsonl") == [{"step": 10, "round": 1}]
