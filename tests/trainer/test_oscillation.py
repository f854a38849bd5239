"""PODS in a run: rounds of low and high volume, at the budget's total."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trainer import recipe as recipes
from trainer.config import Run
from trainer.errors import RunError
from trainer.session import Session
from trainer.settings import comparison

Recipe = Callable[..., Run]
Train = Callable[..., Session]

SMALL = {"name": "resnet8", "width": 4}


def _volumes(session: Session) -> list[int]:
    ends = [line["samples"] for line in session.folder.read("evaluations.jsonl")]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("sampler", ["p_sgd", "infobatch"])
def test_a_run_trains_on_low_and_high_rounds(recipe: Recipe, train_run: Train, sampler: str) -> None:
    run = recipe(sampler=sampler, budget=0.5, epochs=4, model=SMALL, batch_size=32, oscillation=0.6)
    session = train_run(run)
    plain = train_run(recipe(sampler=sampler, budget=0.5, epochs=4, model=SMALL, batch_size=32, name="plain"))
    assert session.ledger.trained == plain.ledger.trained
    samples = len(session.data.train)
    for number, volume in enumerate(_volumes(session)):
        assert abs(volume - samples * (0.8 if number % 2 else 0.2)) < 32
    assert session.run_rounds == session.ledger.rounds == 4


def test_a_compute_budget_ends_where_it_is_spent(recipe: Recipe, train_run: Train) -> None:
    settings = {"sampler": "kakurenbo", "budget": 0.5, "epochs": 4, "counts": "compute", "oscillation": 0.6}
    session = train_run(recipe(**settings, model=SMALL, batch_size=32))
    account = session.account
    assert account.total - 32 * 2 < account.compute <= account.total
    low, high = _volumes(session)[:2]
    assert high > 3 * low


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"oscillation": 1.0}, "oscillation must be at least 0 and below 1.*; got 1"),
        ({"oscillation_rounds": 3}, "oscillation is 0; got 3: set oscillation, or leave it out"),
        ({"oscillation": 0.5, "sampler": "scan"}, "those of scan are whole epochs: take --sampler rs2"),
        ({"oscillation": 0.5, "selection": "foms"}, "of which selection foms trains on as many as it takes"),
    ],
)
def test_what_cannot_oscillate_is_refused_with_the_settings(table: dict[str, object], message: str) -> None:
    with pytest.raises(RunError, match=message):
        recipes.from_table({"sampler": "uniform", **table}, where="recipe")


def test_a_high_round_beyond_the_set_is_refused_before_training(recipe: Recipe, train_run: Train) -> None:
    with pytest.raises(ValueError, match=r"a high round must hold at most the .* samples of this set"):
        train_run(recipe(sampler="uniform", budget=0.8, epochs=4, model=SMALL, oscillation=0.5))


def test_names_of_runs_without_an_oscillation_stay_as_they_are() -> None:
    plain = Run()
    assert comparison.digest(plain) != comparison.digest(
        Run(sampler=plain.sampler, oscillation_rounds=1, seed=1)
    )
    table = recipes.to_table(plain)
    old = {key: value for key, value in table.items() if not key.startswith("oscillation")}
    assert comparison.differences(old, plain) is None
