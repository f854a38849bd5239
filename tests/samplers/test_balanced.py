"""balanced: how often classes are drawn, whatever their sizes."""

from __future__ import annotations

import numpy as np
import pytest

from samplers import Balanced, Plan, SamplingError

LABELS = np.repeat([0, 1, 3], [80, 16, 4])


@pytest.mark.parametrize(
    ("power", "chances"),
    [
        (0.0, [1 / 3, 1 / 3, 1 / 3]),
        (0.5, np.sqrt([80, 16, 4]) / np.sqrt([80, 16, 4]).sum()),
        (1.0, [0.8, 0.16, 0.04]),
    ],
)
def test_classes_are_drawn_by_a_power_of_their_sizes(power: float, chances: list[float]) -> None:
    plan = Plan(100, epochs=60, labels=LABELS)
    sampler = Balanced(power=power).build(plan)
    declared = np.bincount(LABELS, sampler.probabilities())[[0, 1, 3]]
    np.testing.assert_allclose(declared, chances)
    drawn = np.concatenate([sampler.next_order().ids for _ in range(sampler.rounds)])
    assert len(drawn) == plan.total
    counts = np.bincount(LABELS[drawn], minlength=4)[[0, 1, 3]]
    expected = plan.total * np.array(chances)
    assert (np.abs(counts - expected) < 4.9 * np.sqrt(expected)).all()
    # Within a class all samples alike.
    small = np.bincount(drawn, minlength=100)[96:]
    assert (np.abs(small - small.mean()) < 4.9 * np.sqrt(small.mean())).all()


def test_a_set_without_classes_and_another_power_are_refused() -> None:
    with pytest.raises(SamplingError, match="balanced needs one class per sample, and this set has none"):
        Balanced().build(Plan(100))
    with pytest.raises(SamplingError, match="power must be from 0 to 1; got 2"):
        Balanced(power=2)
