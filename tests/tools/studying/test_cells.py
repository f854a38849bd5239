"""Cells whose folders, recipes or data are other than the study's file says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tools.studying.cells import Cell, Place, check_data, check_unchanged, final_cells, trial_cells
from tools.studying.definition import Study, read_study
from tools.studying.selecting import choices
from tools.studying.state import State, added, dropped, load_state
from trainer.errors import RunError
from trainer.settings import comparison

Write = Callable[..., Path]
Finish = Callable[..., None]


@pytest.fixture
def study(write: Write) -> Study:
    return read_study(str(write()))


@pytest.fixture
def cells(study: Study, tmp_path: Path) -> tuple[Cell, ...]:
    return final_cells(study, Place(tmp_path / "runs", tmp_path), {})


def test_a_cell_whose_recipe_changed_is_named_by_its_digests(cells: tuple[Cell, ...], finish: Finish) -> None:
    check_unchanged(cells)
    finish(cells[0], 0.5)
    check_unchanged(cells)
    other = replace(cells[0], run=replace(cells[0].run, budget=0.4))
    then, now = comparison.digest(cells[0].run)[:12], comparison.digest(other.run)[:12]
    with pytest.raises(RunError) as error:
        check_unchanged([other])
    assert f"cell standard-uniform-s0 must be the run that its folder holds; its recipe was {then}" in str(
        error.value
    )
    assert f"and is {now} now (budget is 0.3 there and 0.4 here)" in str(error.value)
    (cells[0].folder / "run.toml").write_text("= 1")
    with pytest.raises(RunError, match="must be as `trainer run` wrote it"):
        check_unchanged([other])


def test_cells_of_other_data_are_refused(cells: tuple[Cell, ...], finish: Finish) -> None:
    for cell in cells[:2]:
        finish(cell, 0.5)
    check_data(cells)
    path = cells[1].folder / "environment.json"
    facts = json.loads(path.read_text())
    facts["data_sha256"]["train"] = "3" * 64
    path.write_text(json.dumps(facts))
    with pytest.raises(RunError) as error:
        check_data(cells)
    said = str(error.value)
    assert said.startswith("cells of a study must be of the same data; the train set of standard-uniform-s0")
    assert "has sha256 111111111111 and that of standard-p_sgd-s0 333333333333" in said
    path.write_text("{")
    check_data(cells)


CHOOSE = '[choose]\nper = "sampler"\ntrials = 2\n[choose.settings]\n"optimizer.lr" = [0.1, 0.2]\n'


def test_a_choice_made_on_the_test_set_is_refused(write: Write, finish: Finish, tmp_path: Path) -> None:
    study = read_study(str(write(after=CHOOSE)))
    place = Place(tmp_path / "runs", tmp_path)
    trials = [cell for cells in trial_cells(study, place).values() for cell in cells]
    cells = final_cells(study, place, {})
    finish(cells[0], 0.5)
    finish(trials[0], 0.5)
    with pytest.raises(RunError, match="choose-uniform-1 was evaluated on the test set of the cells"):
        check_data(cells, trials)


def test_the_best_trial_is_chosen_and_those_that_diverged_are_not(
    write: Write, finish: Finish, tmp_path: Path
) -> None:
    study = read_study(str(write(after=CHOOSE)))
    trials = trial_cells(study, Place(tmp_path / "runs", tmp_path))
    state = load_state(study, tmp_path)
    finish(trials["uniform"][0], 0.5)
    assert choices(trials, state) == {}
    finish(trials["uniform"][1], 0.6)
    made = choices(trials, state)
    assert made["uniform"].settings == {"optimizer.lr": 0.2}
    assert [trial.result for trial in made["uniform"].trials] == [0.5, 0.6]
    state.diverged["choose-p_sgd-1"] = "loss must be finite"
    finish(trials["p_sgd"][1], 0.1)
    assert choices(trials, state)["p_sgd"].best == 1
    state.diverged["choose-p_sgd-2"] = "loss must be finite"
    with pytest.raises(RunError, match="all 2 of p_sgd diverged"):
        choices(trials, state)


def test_seeds_stay_as_they_were_before_the_first_run(write: Write, tmp_path: Path) -> None:
    study = read_study(str(write()))
    state = load_state(study, tmp_path)
    assert state == load_state(study, tmp_path)
    state.save(tmp_path)
    more = read_study(str(write(replaced={"[0, 1, 2]": "[0, 1, 2, 3]"})))
    with pytest.raises(RunError, match=r"seeds must stay .* \[0, 1, 2\]; got \[0, 1, 2, 3\]"):
        load_state(more, tmp_path)
    other = read_study(str(write(replaced={'"ricap"]': '"mixup"]'})))
    assert added(load_state(other, tmp_path), other) == ["mixup-uniform", "mixup-p_sgd"]
    assert dropped(load_state(other, tmp_path), other) == ["ricap-uniform", "ricap-p_sgd"]
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(RunError, match="must be as `trainer study` wrote it"):
        load_state(study, tmp_path)
    assert isinstance(state, State)
