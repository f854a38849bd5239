"""Slots: one list of what is variable, from which all others derive."""

from __future__ import annotations

import dataclasses

import pytest

from trainer.config import Run, Settings
from trainer.errors import RunError
from trainer.recipe import from_table, to_table
from trainer.schedules import SCHEDULES, Constant, Step
from trainer.slots import RUN_SLOTS, SLOTS, Slot


def test_a_run_has_a_setting_for_each_of_its_slots_and_no_other_parts() -> None:
    settings = {item.name for item in dataclasses.fields(Settings)}
    fields = {item.name for item in dataclasses.fields(Run)} - settings - {"recipe", "streams"}
    assert fields == set(RUN_SLOTS)


@pytest.mark.parametrize("slot", RUN_SLOTS.values(), ids=RUN_SLOTS)
def test_a_run_that_says_nothing_has_each_default(slot: Slot) -> None:
    assert slot.named(Run()) == slot.default
    assert to_table(from_table({slot.name: slot.default}, "x")) == to_table(Run())


@pytest.mark.parametrize("slot", SLOTS.values(), ids=SLOTS)
def test_the_names_of_parts_are_those_of_the_table(slot: Slot) -> None:
    assert [slot.part_name(object.__new__(part)) for part in slot.table.values()] == list(slot.table)


def test_names_of_a_chain_follow_each_other() -> None:
    run = from_table({"augment": ["randaugment", "standard"]}, "x")
    assert SLOTS["augment"].named(run) == "randaugment + standard"
    assert SLOTS["augment"].prefix("ricap") == "--augment.ricap."
    assert SLOTS["model"].prefix("resnet8") == "--model."
    assert SLOTS["source"].prefix("cifar10") == ""


def test_a_default_that_is_no_part_and_a_part_of_two_names_are_refused() -> None:
    with pytest.raises(RunError, match=r"schedule must be one of .*; got 'nope'"):
        Slot(name="schedule", table=SCHEDULES, help="", default="nope")
    with pytest.raises(RunError, match="a part must stand under one name; got Constant as a and c"):
        Slot(name="schedule", table={"a": Constant, "b": Step, "c": Constant}, help="", default="a")
