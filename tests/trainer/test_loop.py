"""The training loop on real images: what a run does, counts, writes and repeats."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from samplers import Plan
from trainer.config import Run
from trainer.errors import DivergedError, InterruptedRunError, RunError
from trainer.loop import train
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]


@pytest.mark.parametrize("augment", ["standard", "mixup", "ricap"])
@pytest.mark.parametrize("sampler", ["scan", "uniform", "rs2", "p_sgd", "c_sgd"])
def test_every_sampler_trains_its_budget_exactly_under_every_mixing(
    recipe: Recipe, train_run: Train, sampler: str, augment: str
) -> None:
    run = recipe(sampler=sampler, augment=[augment], epochs=3, budget=0.3)
    session = train_run(run)
    total = round(3 * 1280 * 0.3)
    assert session.ledger.trained == total - total % 64
    folder = session.folder.path
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["trained"] == session.ledger.trained
    assert ledger["finished"] is True
    samples = pq.read_table(folder / "samples.parquet").to_pydict()
    assert sum(samples["times_seen"]) == ledger["trained"]
    seen = np.array(samples["times_seen"]) > 0
    assert np.isfinite(np.array(samples["last_loss"])[seen]).all()


def test_hidden_samples_are_scored_and_cost_no_trained_samples(
    recipe: Recipe, train_run: Train, watch: Watch
) -> None:
    easy = {"name": "kakurenbo", "confidence": 0.5}
    run = recipe(sampler=easy, budget=1.0, epochs=6, name="whole")
    session = train_run(run)
    assert session.ledger.trained == 6 * 1280
    assert session.ledger.scored > 0
    assert session.ledger.seconds["score"] > 0
    # What that cost was measured, not assumed.
    assert set(session.ledger.score_costs) == {28}
    assert session.ledger.score_costs[28] > 0
    stopped = recipe(sampler=easy, budget=1.0, epochs=6, name="stopped", log_every=1)
    folder = RunFolder(stopped.runs_dir / folder_name(stopped), stopped)
    with pytest.raises(InterruptedRunError):
        train(stopped, folder, World(), watch(stop_at=100))
    again = train_run(stopped)
    assert again.fingerprint() == session.fingerprint()
    assert again.ledger.scored == session.ledger.scored


@pytest.mark.parametrize("budget", [0.1, 0.3, 1.0])
def test_the_budget_decides_how_many_samples_are_trained(
    recipe: Recipe, train_run: Train, budget: float
) -> None:
    session = train_run(recipe(budget=budget, epochs=2))
    total = round(2 * 1280 * budget)
    assert session.ledger.trained == total - total % 64


def test_training_learns(recipe: Recipe, train_run: Train, watch: Watch) -> None:
    watcher = watch()
    train_run(recipe(model="resnet8", epochs=12, budget=0.5), watcher)
    assert watcher.losses[-1] < 0.6 * watcher.losses[0]
    assert watcher.accuracies[-1] > 0.65


def test_the_learning_rate_reaches_its_floor_at_the_end_of_the_budget(
    recipe: Recipe, train_run: Train
) -> None:
    session = train_run(recipe(budget=0.2, log_every=1, optimizer={"name": "sgd", "lr": 0.1}))
    lines = session.folder.read("steps.jsonl")
    assert lines[0]["lr"] == pytest.approx(0.1)
    assert lines[-1]["lr"] == pytest.approx(1e-6)
    assert len(lines) == session.plan.steps


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    recipe: Recipe, train_run: Train
) -> None:
    runs = [recipe(name=name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    first, again, other = (train_run(run).fingerprint() for run in runs)
    assert first == again
    assert first != other


@pytest.mark.parametrize("field", ["init_seed", "order_seed", "augment_seed"])
def test_each_seed_alone_changes_the_run(recipe: Recipe, train_run: Train, field: str) -> None:
    base = train_run(recipe(name="base", budget=0.2)).fingerprint()
    assert train_run(recipe(name="other", budget=0.2, **{field: 7})).fingerprint() != base


@pytest.mark.parametrize("augment", ["standard", "ricap"])
def test_the_resident_and_the_ffcv_engine_give_the_same_run(
    recipe: Recipe, train_run: Train, augment: str
) -> None:
    weights = {
        engine: train_run(recipe(name=engine, engine=engine, augment=[augment])).fingerprint()
        for engine in ("resident", "ffcv")
    }
    assert weights["resident"] == weights["ffcv"]


def test_fewer_lines_in_the_log_change_nothing_else(recipe: Recipe, train_run: Train) -> None:
    weights = {
        train_run(recipe(name=f"every-{every}", log_every=every, sampler="p_sgd")).fingerprint()
        for every in (1, 7)
    }
    assert len(weights) == 1


# --- Stopping and going on -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "stop", "number"),
    # Within the first round, at a round's end, and within the second: 640 samples a round, 10 steps.
    [("p_sgd", 1, signal.SIGINT), ("rs2", 10, signal.SIGTERM), ("c_sgd", 13, signal.SIGINT)],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    recipe: Recipe, train_run: Train, watch: Watch, sampler: str, stop: int, number: signal.Signals
) -> None:
    settings = {"sampler": sampler, "augment": ["mixup"], "log_every": 1}
    whole = train_run(recipe(name="whole", **settings))
    run = recipe(name="stopped", **settings)
    folder = RunFolder(run.runs_dir / folder_name(run), run)
    with pytest.raises(InterruptedRunError, match="goes on from"):
        train(run, folder, World(), watch(stop_at=stop, by=number))
    watcher = watch()
    session = train_run(run, watcher)
    assert watcher.resumed_at == stop
    assert session.fingerprint() == whole.fingerprint()
    for name in ("evaluations.jsonl", "steps.jsonl"):
        keys = ("step", "samples", "metrics" if name.startswith("eval") else "loss")
        lines = [[tuple(line[key] for key in keys) for line in s.folder.read(name)] for s in (session, whole)]
        assert lines[0] == lines[1]
    tables = [pq.read_table(s.folder.path / "samples.parquet") for s in (session, whole)]
    for name in tables[0].column_names:
        np.testing.assert_array_equal(*(table[name].to_numpy() for table in tables))


@pytest.mark.parametrize("service", ["inline", "thread", "process"])
def test_orders_drawn_ahead_are_the_same_wherever_they_are_drawn(
    recipe: Recipe, train_run: Train, watch: Watch, service: str
) -> None:
    settings = {"sampler": "p_sgd", "lead": 3, "budget": 0.3}
    inline = train_run(recipe(name="inline", log_every=1, **settings))
    run = recipe(name="stopped", service=service, log_every=4, **settings)
    folder = RunFolder(run.runs_dir / folder_name(run), run)
    # Stopped at step 4, with the order of the second round drawn ahead: a round has 6 steps.
    with pytest.raises(InterruptedRunError):
        train(run, folder, World(), watch(stop_at=4))
    assert train_run(run).fingerprint() == inline.fingerprint()


def test_a_damaged_checkpoint_is_named_and_left_alone(recipe: Recipe, train_run: Train) -> None:
    run = recipe(name="damaged")
    folder = RunFolder(run.runs_dir / folder_name(run), run)
    folder.checkpoint.parent.mkdir(parents=True)
    folder.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match=r"checkpoint .*last\.pt isn't as it was written.*remove"):
        train_run(run)
    assert folder.checkpoint.read_bytes() == b"not a checkpoint"


def test_a_folder_of_another_run_is_refused(recipe: Recipe, train_run: Train) -> None:
    run = recipe(name="mine", budget=0.2)
    train_run(run)
    for other in (
        {"optimizer": {"name": "sgd", "lr": 0.05}},
        {"sampler": "rs2"},
        {"augment": ["none"]},
        {"model": "resnet18"},
    ):
        with pytest.raises(RunError, match="other settings"):
            train_run(recipe(name="mine", budget=0.2, **other))
    same = recipe(name="mine", budget=0.2, log_every=1, service="thread")
    RunFolder(same.runs_dir / "mine", same)


def test_a_folders_name_tells_runs_apart(recipe: Recipe) -> None:
    others = (  # type: ignore[var-annotated]
        {},
        {"sampler": "rs2"},
        {"augment": ["none"]},
        {"model": "resnet18"},
        {"optimizer": {"name": "sgd", "lr": 0.2}},
        {"seed": 1},
    )
    names = {folder_name(recipe(**other)) for other in others}
    assert len(names) == len(others)
    digests = {name.rsplit("-", 1)[1] for name in names}
    assert len(digests) == len(others)


def test_a_diverged_run_names_the_step_and_what_is_left(recipe: Recipe, train_run: Train) -> None:
    run = recipe(optimizer={"name": "sgd", "lr": 1e8}, precision="fp32", name="diverged")
    with pytest.raises(
        DivergedError,
        match=r"loss must be finite; got (nan|inf) at step \d+; lower --optimizer\.lr.*diverged",
    ):
        train_run(run)
    assert not (run.runs_dir / "diverged" / "checkpoint").exists()
    assert not (run.runs_dir / "diverged" / "ledger.json").exists()


# --- The ledger ------------------------------------------------------------------------------------------


def test_the_phases_account_for_the_training_clock(recipe: Recipe, train_run: Train, watch: Watch) -> None:
    class Computing(watch):  # type: ignore[misc, valid-type]
        """Times the run by what this thread computes: another process's share of the cores is in no phase."""

        def started(self, session: Session, resumed: bool) -> None:
            session.ledger.now = time.thread_time
            super().started(session, resumed)

    session = train_run(recipe(model={"name": "resnet8", "width": 16}), Computing())
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    phases = ledger["phases"]
    on_the_clock = sum(seconds for name, seconds in phases.items() if name not in ("evaluate", "checkpoint"))
    # Beside the phases there is only what a loop takes to go on.
    assert 0.98 * ledger["train_seconds"] <= on_the_clock <= ledger["train_seconds"]
    assert all(
        phases[name] > 0 for name in ("wait", "augment", "forward", "backward", "optimize", "evaluate")
    )
    off_the_clock = phases["evaluate"] + phases["checkpoint"]
    assert ledger["train_seconds"] == pytest.approx(ledger["wall_seconds"] - off_the_clock)
    assert ledger["stall"] == pytest.approx(phases["wait"] / ledger["train_seconds"])
    assert ledger["evaluated"] == 512 * len(session.folder.read("evaluations.jsonl"))


def test_the_plan_is_that_of_the_run(recipe: Recipe, train_run: Train) -> None:
    session = train_run(recipe(budget=0.3, round_length=0.5))
    assert isinstance(session.plan, Plan)
    assert session.plan.rounds == 8
    assert session.ledger.rounds == 8
