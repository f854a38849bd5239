"""The package's README shows code that runs, and lists what there is."""

from __future__ import annotations

import doctest
from pathlib import Path

README = Path(__file__).parents[2] / "samplers" / "README.md"


def test_the_examples_run() -> None:
    results = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 10
    assert results.failed == 0
