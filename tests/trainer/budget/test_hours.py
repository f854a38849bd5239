"""Budgets in hours, by a clock of the tests' own: no result depends on how fast this machine is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from trainer import RunFolder, open_session
from trainer.budget.costs import Costs
from trainer.budget.hours import TimedAccount
from trainer.config import Run
from trainer.errors import RunError
from trainer.recipe import from_table, to_table
from trainer.session import Session
from trainer.state import save

SECONDS = 2.0
HOURS = SECONDS / 3600


class OwnClock:
    """A clock that a test moves."""

    seconds = 0.0

    def now(self) -> float:
        return self.seconds


@dataclass
class Course:
    """Settings that the steps of a run were trained with."""

    rates: list[float] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)


def follow(session: Session, clock: OwnClock, seconds: Callable[[float], float]) -> Course:
    """Train to the end; a step that begins at time t takes ``seconds(t)``, and an evaluation 50 ms."""
    session.ledger.now = clock.now
    session.ledger.start_clock()
    course = Course()
    for current in session.rounds():
        for _ in session.steps(current):
            clock.seconds += seconds(clock.seconds)
            course.rates.append(session.step.optimizer.param_groups[0]["lr"])
            course.pixels.append(session.pixels)
            course.progress.append(session.account.progress)
        session.finish(current)
        if session.unevaluated:
            with session.ledger.phase("evaluate"):
                clock.seconds += 0.05
            session.unevaluated = False
    return course


def slower_from(at: float) -> Callable[[float], float]:
    """A machine that takes 6 ms for a step, and 12 ms from a moment on."""
    return lambda now: 0.006 if now < at else 0.012


@pytest.fixture
def timed(recipe: Callable[..., Run], tiny: Callable[..., Path], tmp_path: Path) -> Callable[..., Session]:
    """Open a session of two seconds on the tiny set, whose rounds are of 8 steps."""
    data = tiny()

    def make(**entries: Any) -> Session:
        usual = {"data": str(data), "batch_size": 16, "budget": 1.0, "budget_hours": HOURS}
        run = recipe(**{**usual, "optimizer": {"name": "sgd", "lr": 0.01}, **entries})
        return open_session(run, RunFolder(tmp_path / "run", run))

    return make


@pytest.mark.parametrize("at", [1.7, 3.7])
def test_a_run_ends_on_time_at_the_schedules_floor_though_the_machine_slows_down(
    timed: Callable[..., Session], at: float
) -> None:
    """The evaluations' seconds are on the clock from which ``at`` is counted, and outside of the budget."""
    with timed(schedule="linear") as session:
        course = follow(session, OwnClock(), slower_from(at))
        assert session.ledger.train_seconds == pytest.approx(SECONDS, rel=0.01)
        assert session.ledger.train_seconds <= SECONDS + 0.006
        floor = session.schedule.factor(1.0) * 0.01
        assert course.rates[-1] == pytest.approx(floor, abs=1e-12)
        # Linear in time, not in steps, and once at its floor the run is over.
        assert course.rates == sorted(course.rates, reverse=True)
        assert course.rates[-2] > floor


def test_resolution_follows_the_time(timed: Callable[..., Session]) -> None:
    """A progressive run is at full resolution for as much of its time as of another run's samples."""
    with timed(resolution={"name": "progressive"}) as session:
        course = follow(session, OwnClock(), slower_from(1.7))
        assert session.ledger.train_seconds == pytest.approx(SECONDS, rel=0.01)
        stages = session.run.resolution
        for pixels, progress in zip(course.pixels[1::2], course.progress[1::2], strict=True):
            # A round keeps its resolution, and is a twentieth of the run at the most.
            around = {
                stages.at(min(1.0, max(0.0, progress + shift)), session.full).pixels
                for shift in (-0.06, 0, 0.06)
            }
            assert pixels in {one or session.full for one in around}


def test_a_run_that_is_resumed_has_the_rest_of_its_hours(timed: Callable[..., Session]) -> None:
    clock = OwnClock()
    with timed(schedule="linear") as session:
        session.ledger.now = clock.now
        session.ledger.start_clock()
        for number, step in enumerate(session.steps(next(session.rounds())), start=1):
            clock.seconds += 0.05
            if number == 7:
                assert step.complete
                save(session)
                progress = session.account.progress
                break
    with timed(schedule="linear") as session:
        assert session.ledger.steps == 7
        assert session.account.progress == progress
        course = follow(session, OwnClock(), lambda now: 0.02)
        assert session.ledger.train_seconds == pytest.approx(SECONDS, rel=0.01)
        assert course.rates[0] == pytest.approx(0.01 * (1 - 7 * 0.05 / SECONDS), rel=0.03)
        assert course.rates[-1] == pytest.approx(session.schedule.factor(1.0) * 0.01, abs=1e-12)


def test_a_finished_run_stays_finished_when_its_checkpoint_is_opened(timed: Callable[..., Session]) -> None:
    with timed() as session:
        follow(session, OwnClock(), lambda now: 0.1)
        save(session)
    with timed() as session:
        assert not session.goes_on()


def simulate(
    account: TimedAccount,
    clock: OwnClock,
    step: float,
    evaluation: float,
    every: int,
    halved: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Train on the account alone, evaluating after every so many steps; return the schedule's progress.

    Steps and evaluations take twice as long while ``halved``.
    """
    account.ledger.now = clock.now
    account.ledger.start_clock()
    account.begin(step, evaluation)
    course = []

    def evaluate() -> None:
        with account.ledger.phase("evaluate"):
            clock.seconds += evaluation * (2 if halved() else 1)

    while account.affords(account.step_cost(32)):
        account.look()
        course.append(account.schedule_progress(account.step_cost(32)))
        account.charge("trained", account.batch_size, 32)
        account.ledger.steps += 1
        clock.seconds += step * (2 if halved() else 1)
        going = account.affords(account.step_cost(32))
        if going and len(course) % every == 0 and account.affords_evaluation(account.step_cost(32)):
            evaluate()
    evaluate()
    return course


@pytest.mark.parametrize("clock", ["training", "wall"])
@pytest.mark.parametrize("evaluation", [0.0, 0.3, 5.0, 9.7])
def test_evaluations_are_outside_of_the_hours_or_inside(
    clock: Literal["training", "wall"], evaluation: float
) -> None:
    account = TimedAccount(20.0, 1000, 10, "hours", Costs({32: 1.0}), clock=clock, most_samples=10**9)
    course = simulate(account, OwnClock(), 0.02, evaluation, every=50)
    taken = account.ledger.train_seconds if clock == "training" else account.ledger.wall_seconds
    assert taken == pytest.approx(20.0, rel=0.01)
    assert taken <= 20.0 + 1e-9
    assert course == sorted(course)
    assert course[0] == 0.0
    assert course[-1] == 1.0 > course[-2]


def test_a_machine_that_slows_down_evaluates_slower_too() -> None:
    """At half the speed the last evaluation takes twice what the one before it took."""
    account = TimedAccount(20.0, 1000, 10, "hours", Costs({32: 1.0}), clock="wall", most_samples=10**9)
    clock = OwnClock()
    course = simulate(account, clock, 0.02, 0.8, every=300, halved=lambda: clock.seconds > 15)
    assert account.ledger.wall_seconds == pytest.approx(20.0, rel=0.01)
    assert course[-1] == 1.0 > course[-2]


def test_a_checkpoint_is_timed_before_the_first_step_where_it_is_on_the_clock(
    timed: Callable[..., Session],
) -> None:
    with timed(budget_clock="wall") as session:
        assert isinstance(session.account, TimedAccount)
        assert session.account.last["checkpoint"] > 0
        assert session.ledger.seconds["checkpoint"] == 0
        assert session.ledger.train_seconds >= 0
        weights = session.fingerprint()
    # A run that is killed before its next checkpoint goes on from there.
    with timed(budget_clock="wall") as session:
        assert session.fingerprint() == weights
        course = follow(session, OwnClock(), lambda now: 0.05)
        assert course.rates[0] == pytest.approx(0.01, rel=0.02)


def test_between_looks_spending_is_what_was_predicted() -> None:
    """As for a GPU, whose queue is ahead of the clock, and for ranks, who must decide alike."""
    clock = OwnClock()
    account = TimedAccount(20.0, 1000, 10, "hours", Costs({32: 1.0}), most_samples=10**9, interval=7)
    course = simulate(account, clock, 0.03, 0.0, every=10**6)
    assert account.ledger.train_seconds == pytest.approx(20.0, rel=0.01)
    assert course[-1] == 1.0 > course[-2]
    steps = [after - before for before, after in pairwise(course[:500])]
    assert max(steps) == pytest.approx(min(steps), rel=0.01)


def test_hours_that_hold_no_round_are_refused(timed: Callable[..., Session]) -> None:
    with pytest.raises(
        RunError, match=r"budget_hours must hold a round of 128 samples, about \S+ hours here; "
    ):
        timed(budget_hours=1e-7)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"budget": 0.3, "budget_hours": 2.0}, "budget and budget_hours exclude each other; got 0.3 and 2"),
        ({"budget_hours": 0.0}, "budget_hours must be above 0 and finite; got 0"),
        ({"budget_hours": 2.0, "counts": "compute"}, "counts is for a budget of samples"),
        ({"budget_clock": "wall"}, "budget_clock is the clock of budget_hours; got wall without hours"),
        ({"price_per_hour": -1.0}, "price_per_hour must be at least 0 and finite; got -1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(entries: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        from_table(entries, "recipe")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"schedule": "fixed_one_cycle"}, "schedule.warmup must be a fraction of the run"),
        ({"selection": {"name": "selective_backprop", "keep": 0.3}}, "selection.start must be given"),
    ],
)
def test_parts_that_count_epochs_are_refused(
    timed: Callable[..., Session], entries: dict[str, Any], said: str
) -> None:
    with pytest.raises(RunError, match=said):
        timed(**entries)


def test_a_recipe_of_hours_is_written_and_read() -> None:
    run = from_table({"budget_hours": 2, "budget_clock": "wall", "price_per_hour": 1.5}, "recipe")
    assert run.budget == 1.0
    assert from_table(to_table(run), "run.toml") == run
