"""Contract suite of resolution schedules, and the definition of each."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import DataError
from pipeline.resolution import RESOLUTIONS, Constant, Progressive, SuperProgressive

NAMES = sorted(RESOLUTIONS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(full=st.integers(8, 512), progress=st.floats(0, 1))
def test_every_stage_is_one_of_the_stages(name: str, full: int, progress: float) -> None:
    part = RESOLUTIONS[name]()
    assert part.full(full) == full
    stage = part.at(progress, full)
    assert stage.pixels in part.stages(full)
    assert stage.pixels is not None
    assert 1 <= stage.pixels <= full
    assert stage.resolution == stage.pixels / full
    assert list(part.stages(full)) == sorted(set(part.stages(full)))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_ends_at_full_resolution(name: str) -> None:
    assert RESOLUTIONS[name]().at(1.0, 224).pixels == 224


@pytest.mark.parametrize("name", NAMES)
def test_images_of_different_sizes_need_a_resolution_in_pixels(name: str) -> None:
    with pytest.raises(DataError, match=r"--resolution.pixels 224"):
        RESOLUTIONS[name]().full(None)
    assert RESOLUTIONS[name](pixels=160).full(None) == 160  # type: ignore[call-arg]


def test_progressive_divides_the_budget_evenly_among_its_resolutions() -> None:
    # Kocyigit (2023) section 3.4: 96 to 224 in steps of 32.
    part = Progressive(lowest=96, step=32, magnitude=(0.8, 1.2))
    assert part.stages(224) == (96, 128, 160, 192, 224)
    stages = [part.at(i / 1000, 224) for i in range(1000)]
    assert [sum(s.pixels == p for s in stages) for p in part.stages(224)] == [200] * 5
    magnitudes = sorted({round(s.magnitude, 6) for s in stages})
    assert magnitudes == [0.8, 0.9, 1.0, 1.1, 1.2]
    assert all(a.magnitude <= b.magnitude for a, b in pairwise(stages))


def speed_up(part: SuperProgressive, full: int) -> float:
    """How much less is computed than at full resolution throughout, a step costing as its pixels do."""
    places = 20_000
    stages = [part.at((i + 0.5) / places, full) for i in range(places)]
    return places / sum(((stage.pixels or full) / full) ** 2 for stage in stages)


@pytest.mark.parametrize(("lowest", "printed"), [(128, 1.40), (96, 1.60), (64, 1.82)])
def test_super_progressive_saves_what_the_thesis_prints(lowest: int, printed: float) -> None:
    """Kocyigit (2023) table 3.6: from each least resolution to 224 pixels, in steps of 32."""
    part = SuperProgressive(lowest=lowest)
    assert round(speed_up(part, 224), 2) == printed
    sides = part.stages(224)
    exact = (len(sides) + 1) / (1 + sum((side / 224) ** 2 for side in sides))
    assert speed_up(part, 224) == pytest.approx(exact, rel=1e-3)


def test_without_a_least_resolution_super_progressive_saves_two_thirds() -> None:
    """Table 3.6's last row, 3x: the limit of ever finer steps from nothing."""
    part = SuperProgressive(lowest=2, step=1)
    assert speed_up(part, 2048) == pytest.approx(3, abs=0.01)


def test_super_progressive_has_equal_stages_by_default() -> None:
    """Six stages from 96 to 224 pixels, the first at full resolution: 80 of 480 epochs is t_w of table
    3.5."""
    part = SuperProgressive(lowest=96)
    assert part.warmup_fraction(224) * 480 == pytest.approx(80)
    pixels = [part.at((i + 0.5) / 600, 224).pixels for i in range(600)]
    assert pixels == [side for side in (224, 96, 128, 160, 192, 224) for _ in range(100)]
    magnitudes = [5 * part.at(progress, 224).magnitude for progress in (0.0, 0.5, 1.0)]
    assert magnitudes == pytest.approx([4, 5, 6])


def test_steps_that_do_not_fit_begin_at_the_lowest_all_the_same() -> None:
    assert Progressive(lowest=0.5, step=12).stages(32) == (16, 20, 32)


def test_super_progressive_warms_up_at_full_resolution_and_strengthens_throughout() -> None:
    part = SuperProgressive(lowest=96, warmup=0.25, magnitude=(0.5, 1.5))
    pixels = [part.at(p, 224).pixels for p in (0.0, 0.2, 0.25, 0.39, 0.41, 0.99)]
    assert pixels == [224, 224, 96, 96, 128, 224]
    assert [part.at(p, 224).magnitude for p in (0.0, 0.5, 1.0)] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0}, "lowest must be a fraction"),
        ({"lowest": 1.5}, "lowest must be a fraction"),
        ({"pixels": 16_385}, "pixels must be at most 16384 pixels; got 16385: take less"),
        ({"lowest": 1e300}, "lowest must be at most 16384 pixels; got 1000"),
        ({"step": 0}, "step must be at least 1 pixel"),
        ({"magnitude": (1.2, 0.8)}, "magnitude must be two factors"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Progressive(**options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="warmup must be"):
        SuperProgressive(warmup=1.0)
    with pytest.raises(DataError, match="lowest must be at most"):
        Progressive(lowest=64).full(32)


def test_a_fraction_and_its_pixels_are_the_same_resolution() -> None:
    assert Constant(pixels=0.5).full(224) == Constant(pixels=112).full(224) == 112
