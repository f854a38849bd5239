"""What the samplers' contract suite shares: every sampler of the table."""

from __future__ import annotations

import pytest
from sampler_runs import small_plan

from samplers import SAMPLERS


@pytest.fixture(params=SAMPLERS, ids=str)
def name(request):
    return request.param


@pytest.fixture
def build(name):
    return lambda **options: SAMPLERS[name]().build(small_plan(**options))
