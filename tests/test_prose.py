"""Docstrings and messages are in the field's standard English, in every folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOLDERS = ("samplers", "pipeline", "trainer", "tools", "tests")

HABITS = {
    "personification": r"\b(hears?|heard|tells?|told) (of|about|the|it|what|in|by|from)\b|\bis told\b",
    "what a function gives": r"^(Gives?|What) ",
    "a row a sample": r"\b(one|a|an) \w+ an? (sample|image|batch|class|epoch|round|step|thread|call)\b",
    "British spelling": r"\b\w*(colour|grey|centre|neighbour)\w*"
    r"|\b(un)?(optimi|normali|maximi|minimi|vectori|prioriti|recogni|summari|initiali)s(e|ed|er?s?|ing|ation)\b",
    "archaisms": r"\b(anew|lest|anyhow|whoever)\b",
}

ALLOWED = {"colours"}
"""Words that are names: --augment.ssl.scaled colours, of version 0.1."""


def files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(set((ROOT / folder).rglob("*.py")) - {Path(__file__)})


@cache
def prose() -> tuple[tuple[str, str], ...]:
    """Return where each docstring or message of more than one word is, and its text."""
    found = []
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node.value))
    return tuple(found)


@pytest.mark.parametrize("habit", HABITS)
def test_prose_is_free_of(habit: str) -> None:
    pattern = re.compile(HABITS[habit])
    bad = [
        f"{place}: {match.group()}"
        for place, text in prose()
        for match in pattern.finditer(text)
        if match.group() not in ALLOWED
    ]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("habit", "text"),
    [
        ("personification", "so an owner never hears about another's label"),
        ("personification", "What a sampler must be told of the run's progress"),
        ("what a function gives", "Give the next order."),
        ("what a function gives", "What the adapter needs"),
        ("a row a sample", "a weight a sample"),
        ("a row a sample", "once a row a batch"),
        ("British spelling", "Operations on grey levels, normalised"),
        ("archaisms", "score the set anew"),
    ],
)
def test_each_habit_is_recognized(habit: str, text: str) -> None:
    assert re.search(HABITS[habit], text)
