"""Fixtures of the selections' contract suite: every selection of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from selection_steps import make, variants

from trainer.selection import SelectionConfig


@pytest.fixture(params=list(variants()), ids=lambda variant: "-".join((variant[0], *variant[1])))
def part(request: pytest.FixtureRequest, tmp_path: Path) -> SelectionConfig:
    return make(*request.param, tmp_path)  # type: ignore[call-arg]
