"""``trainer list`` shows every part there is, with its options."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from rich.console import Console

from tools.arguments import parse
from tools.listing import LISTED, List, description, headline, options, paragraphs
from trainer.errors import RunError
from trainer.recipe import recipes
from trainer.schedules import OneCycle, Step
from trainer.slots import SLOTS

EVERY_PART = [(slot.plural, name, part) for slot in SLOTS.values() for name, part in slot.table.items()]


def shown(*words: str, width: int = 400) -> str:
    out = io.StringIO()
    assert parse(List, words, "trainer list").execute(Console(file=out, width=width)) == 0
    return out.getvalue()


def test_everything_is_listed() -> None:
    text = shown()
    for _, name, part in EVERY_PART:
        assert description(part) in text
        assert f"\n{name} " in text
    for name, path in recipes().items():
        assert f"\n{name} " in text
        assert headline(path) in text


def test_a_slot_is_listed_alone_by_either_name() -> None:
    text = shown("samplers")
    assert "p_sgd" in text
    assert "resnet8" not in text
    assert shown("sampler") == text


@pytest.mark.parametrize(("slot", "name", "part"), EVERY_PART)
def test_every_part_has_a_description_and_explained_options(slot: Any, name: Any, part: Any) -> None:
    assert description(part).endswith(".")
    found = options(part)
    if dataclasses.is_dataclass(part):
        assert [option for option, *_ in found] == [item.name for item in dataclasses.fields(part)]
    assert all(what for *_, what in found)
    text = shown(slot, name)
    assert all(what in text for *_, what in found)


def test_options_stand_as_they_are_typed() -> None:
    text = shown("schedules", "one_cycle")
    assert "--schedule.low-momentum" in text
    assert "Momentum where the rate is highest" in text
    assert "--augment.ricap.alpha" in shown("augments", "ricap")
    assert "--schedule.milestones" in shown("schedules", "step", width=80)


def test_defaults_and_types() -> None:
    assert [option[:3] for option in options(Step)] == [
        ("milestones", "tuple[float, ...]", "0.333333 0.666667"),
        ("gamma", "float", "0.1"),
    ]
    assert ("initial", "float", "0") in [option[:3] for option in options(OneCycle)]


def test_inherited_required_and_made_options() -> None:
    @dataclasses.dataclass(frozen=True)
    class Base:
        first: int
        """The option
        that comes first."""

    @dataclasses.dataclass(frozen=True)
    class Derived(Base):
        second: tuple[str, ...] = dataclasses.field(default_factory=lambda: ("a", "b"))
        """The option that comes second."""

        bare: bool = False

    assert options(Derived) == [
        ("first", "int", "(required)", "The option that comes first."),
        ("second", "tuple[str, ...]", "a b", "The option that comes second."),
        ("bare", "bool", "False", ""),
    ]


def test_docstrings_are_unwrapped_but_for_what_is_set_out() -> None:
    class Part:
        """Say one thing.

        A paragraph
        of ``two`` lines::

            a = b
            c = d
        """

    assert paragraphs(Part) == ["Say one thing.", "A paragraph of `two` lines", "    a = b\n    c = d"]


def test_a_part_without_options_says_so() -> None:
    assert "It has no options." in shown("schedules", "constant")


def test_a_recipe_is_shown_as_it_is_written() -> None:
    name, path = next(iter(recipes().items()))
    assert path.read_text(encoding="utf-8") in shown("recipes", name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], f"slot must be one of {', '.join(LISTED)}; got 'nope'"),
        (["samplers", "p_sdg"], "samplers has .*; got 'p_sdg'; did you mean p_sgd?"),
        (["recipes", "zzz"], "recipes has .*; got 'zzz'$"),
    ],
)
def test_unknown_names_are_told_what_there_is(words: Any, message: str) -> None:
    with pytest.raises(RunError, match=message) as error:
        shown(*words)
    assert "\n" not in str(error.value)
