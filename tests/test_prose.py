"""Docstrings and messages are in the field's standard English, in every folder listed here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

DONE = (
    "samplers",
    "pipeline/ops",
    "pipeline/kernels",
    "pipeline/augment",
    "pipeline/machine.py",
    "pipeline/complaints.py",
    "pipeline/clock.py",
    "pipeline/bus_error.py",
    "pipeline/randomness.py",
    "pipeline/transfer.py",
    "pipeline/resolution.py",
    "trainer/schedules",
    "trainer/optimizers",
    "trainer/parallel.py",
    "trainer/peers.py",
    "trainer/interrupt.py",
    "trainer/lock.py",
    "trainer/device.py",
    "trainer/environment.py",
    "trainer/inputs.py",
    "trainer/ledger.py",
    "trainer/account.py",
    "trainer/planning.py",
    "tools/bench",
    "tools/gpu",
    "tools/profiling",
    *(
        f"tools/{name}.py"
        for name in ("advise", "arguments", "cli", "convert", "gallery", "inspect", "limits")
    ),
    *(f"tools/{name}.py" for name in ("listing", "outputs", "profile", "recipe_line", "run", "score")),
    *(f"tools/{name}.py" for name in ("score_options", "streams", "terminal", "verify")),
)
"""Folders and files of the source whose prose is kept; extend it as others are done."""

HABITS = {
    "personification": r"\b(hears?|heard|tells?|told) (of|about|the|it|what|in|by|from)\b|\bis told\b",
    "what a function gives": r"^(Gives?|What) ",
    "a row a sample": r"\b(one|a|an) \w+ an? (sample|image|batch|class|epoch|round|step|thread|call)\b",
    "British spelling": r"\b\w*(colour|grey|centre|neighbour)\w*"
    r"|\b(un)?(optimi|normali|maximi|minimi|vectori|prioriti|recogni|summari|initiali)s(e|ed|er?s?|ing|ation)\b",
    "archaisms": r"\b(anew|lest|anyhow|whoever)\b",
}

LATER = {ROOT / "pipeline/augment/augmentation.py"}
"""Files of these folders that are still to be done."""

ALLOWED = {"colours"}
"""Words that are names: --augment.ssl.scaled colours, of version 0.1."""


def files() -> Iterator[Path]:
    for entry in DONE:
        path = ROOT / entry
        assert path.exists(), entry
        yield from [path] if path.is_file() else sorted(set(path.rglob("*.py")) - LATER)


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
