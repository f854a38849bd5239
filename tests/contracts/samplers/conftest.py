"""Fixtures of the samplers' contract suite: every sampler of the table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sampler_runs import built

from samplers import SAMPLERS
from samplers.families.rounds import RoundSampler


@pytest.fixture(params=SAMPLERS, ids=str)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def build(name: str) -> Callable[..., RoundSampler]:
    return lambda **options: built(name, **options)
