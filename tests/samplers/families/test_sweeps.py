"""The samplers that go through passes: scan, rs2, uniform, infobatch, seta, kakurenbo."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samplers import RS2, InfoBatch, Kakurenbo, Order, Plan, SamplingError, Scan, SeTa, Uniform
from samplers.families.rounds import RoundSampler


def _all(sampler: RoundSampler) -> list[Order]:
    return [sampler.next_order() for _ in range(sampler.rounds)]


def test_scan_has_every_sample_once_an_epoch_and_cuts_the_last() -> None:
    sampler = Scan().build(Plan(50, epochs=10, budget=0.33, seed=4))
    orders = _all(sampler)
    assert [len(order.ids) for order in orders] == [50, 50, 50, 15]
    for order in orders[:3]:
        assert sorted(order.ids) == list(range(50))
    assert (orders[0].ids != orders[1].ids).any()


def test_rs2_draws_every_sample_equally_often() -> None:
    counts = np.zeros(50, int)
    for order in _all(RS2().build(Plan(50, epochs=10, budget=0.33, seed=4))):
        assert 16 <= len(order.ids) <= 17
        np.add.at(counts, order.ids, 1)
        assert counts.max() - counts.min() <= 1


def test_rs2_and_scan_share_their_stream() -> None:
    plan = Plan(50, epochs=10, budget=0.33, seed=4)
    scan, rs2 = (np.concatenate([o.ids for o in _all(part().build(plan))]) for part in (Scan, RS2))
    np.testing.assert_array_equal(scan, rs2)


def test_uniform_rounds_are_subsets_that_overlap_by_chance() -> None:
    orders = _all(Uniform().build(Plan(1000, epochs=40, budget=0.3, seed=4)))
    shared = [len(np.intersect1d(a.ids, b.ids)) for a, b in itertools.pairwise(orders)]
    assert all(len(np.unique(order.ids)) == 300 for order in orders)
    # Hypergeometric: 90 in the mean, variance 300 * .3 * .7 * 700 / 999.
    assert abs(np.mean(shared) - 90) < 4.9 * np.sqrt(44.1 / 39)


def test_rounds_longer_than_the_set_hold_whole_passes() -> None:
    sampler = Uniform().build(Plan(3, epochs=2.6, seed=1))
    assert [len(order.ids) for order in _all(sampler)] == [2, 3, 3]
    sampler = Uniform().build(Plan(5, epochs=1.4, seed=1))
    counts = np.bincount(sampler.next_order().ids, minlength=5)
    assert counts.sum() == 7
    assert set(counts) == {1, 2}


def _told(
    sampler: RoundSampler, feed: Callable[..., None], pace: float | None, rounds: int, samples: int
) -> Any:
    """Let rounds go by of a run that is over ``pace`` times earlier than planned; give the next order."""
    for number in range(rounds):
        sampler.next_order()
        progress = None if pace is None else pace * (number + 1) / sampler.rounds
        loss = np.arange(samples) / samples
        feed(sampler, range(samples), loss=loss, p_true=np.exp(-loss), progress=progress)
    return sampler.next_order()


@pytest.mark.parametrize(
    "part", [InfoBatch(), SeTa(), Kakurenbo(confidence=0.5)], ids=lambda part: type(part).__name__
)
def test_a_shorter_run_than_planned_goes_through_the_whole_course(
    part: Any, feed: Callable[..., None]
) -> None:
    # 1.8 times the pace: after 5 of 10 rounds 9/10 of the run are over.
    late, early, planned = (
        _told(part.build(Plan(40, epochs=10, seed=2)), feed, pace, rounds, 40)
        for pace, rounds in ((1.8, 5), (None, 5), (None, 9))
    )
    if isinstance(part, InfoBatch):
        assert (late.weights == 1).all()
        assert (planned.weights == 1).all()
        assert early.weights.max() > 1
    elif isinstance(part, SeTa):
        # Within the window passes hold half of the samples, and an order more than one pass.
        spread = [len(np.unique(order.ids)) for order in (late, planned, early)]
        assert min(spread[:2]) > spread[2]
    else:
        assert late.lr_scale == planned.lr_scale < early.lr_scale


def test_a_run_of_the_planned_length_is_not_changed_by_being_told(feed: Callable[..., None]) -> None:
    told, planned = (
        _told(InfoBatch().build(Plan(40, epochs=10, seed=2)), feed, pace, 8, 40) for pace in (1.0, None)
    )
    np.testing.assert_array_equal(told.ids, planned.ids)
    np.testing.assert_array_equal(told.weights, planned.weights)


class TestInfoBatch:
    LOSS = np.where(np.arange(40) < 30, 0.1, 3.0)  # 30 below the mean of .825

    def _sampler(self, feed: Callable[..., None], **options: Any) -> Any:
        sampler = InfoBatch(**options).build(Plan(40, epochs=10, budget=1.0, seed=2))
        feed(sampler, range(40), loss=self.LOSS)
        sampler.fold_buffered()
        return sampler

    def test_a_pass_keeps_the_hard_and_part_of_the_easy(self, feed: Callable[..., None]) -> None:
        ids = self._sampler(feed).compose(0).ids
        assert set(range(30, 40)) <= set(ids.tolist())
        assert len(ids) == 10 + 15

    def test_those_kept_stand_in_for_those_left_out(self, feed: Callable[..., None]) -> None:
        new = self._sampler(feed, ratio=0.7).compose(0)
        assert len(new.ids) == 10 + 9
        np.testing.assert_allclose(new.weights, np.where(new.ids < 30, 30 / 9, 1), rtol=1e-6)
        assert new.weights.sum() == pytest.approx(40)

    def test_the_multiplier_is_exact_where_the_number_kept_is_rounded(
        self, feed: Callable[..., None]
    ) -> None:
        sampler = InfoBatch().build(Plan(40, epochs=10, seed=2))
        feed(sampler, range(40), loss=np.where(np.arange(40) < 25, 0.1, 3.0))
        sampler.fold_buffered()
        new = sampler.compose(0)
        assert len(new.ids) == 15 + 12
        assert new.weights.sum() == pytest.approx(40)

    def test_passes_follow_one_another_until_the_budget_is_used_up(self, feed: Callable[..., None]) -> None:
        sampler = self._sampler(feed)
        first = sampler.next_order()  # 40 samples: a pass of 25 and 15 of the next
        assert sorted(first.ids[:25]) == sorted(set(first.ids[:25].tolist()))
        assert len(np.unique(first.ids[25:])) == 15
        assert sampler.sweeps == 2

    def test_the_last_part_trains_on_everything_with_weight_1(self, feed: Callable[..., None]) -> None:
        plan = Plan(40, epochs=10, budget=1.0, seed=2, batch_size=1)
        sampler = InfoBatch(delta=0.875).build(plan)
        feed(sampler, range(40), loss=self.LOSS)
        orders = _all(sampler)
        ids = np.concatenate([order.ids for order in orders])
        weights = np.concatenate(
            [np.ones(40) if order.weights is None else order.weights for order in orders]
        )
        assert (weights[350:] == 1).all()
        assert (weights[:350] > 1).any()
        assert sorted(ids[350:390]) == list(range(40))
        assert sorted(ids[390:]) == sorted(set(ids[390:].tolist()))

    def test_batch_remainders_carry_their_weights(self, feed: Callable[..., None]) -> None:
        ids, weights = {}, {}
        for batch in (1, 7):
            sampler = InfoBatch().build(Plan(40, epochs=10, budget=1.0, seed=2, batch_size=batch))
            feed(sampler, range(40), loss=self.LOSS)
            orders = _all(sampler)
            ids[batch] = np.concatenate([order.ids for order in orders])
            weights[batch] = np.concatenate(
                [np.ones(len(o.ids)) if o.weights is None else o.weights for o in orders]
            )
        np.testing.assert_array_equal(ids[7], ids[1][:399])
        np.testing.assert_array_equal(weights[7], weights[1][:399])

    def test_nothing_is_left_out_before_a_loss_is_known(self) -> None:
        sampler = InfoBatch().build(Plan(40, epochs=10, budget=0.5, seed=2))
        assert sampler.next_order().weights is None
        np.testing.assert_array_equal(sampler.compose(0).ids, np.arange(40))

    def test_the_gradient_of_a_pass_keeps_its_expectation(self, feed: Callable[..., None]) -> None:
        value = np.random.default_rng(0).random(40)
        sums = []
        for seed in range(400):
            sampler = InfoBatch().build(Plan(40, epochs=10, seed=seed))
            feed(sampler, range(40), loss=self.LOSS)
            sampler.fold_buffered()
            new = sampler.compose(0)
            sums.append((new.weights * value[new.ids]).sum())  # type: ignore[operator]
        assert abs(np.mean(sums) - value.sum()) < 4.9 * np.std(sums) / np.sqrt(400)

    @pytest.mark.parametrize("options", [{"ratio": 1.0}, {"ratio": -0.1}, {"delta": 1.5}])
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(SamplingError, match=f"{next(iter(options))} must be from 0"):
            InfoBatch(**options)


class TestSeTa:
    def _sampler(self, feed: Callable[..., None], loss: Any, **options: Any) -> Any:
        sampler = SeTa(**options).build(Plan(len(loss), epochs=20, budget=1.0, seed=2))
        feed(sampler, range(len(loss)), loss=loss)
        sampler.fold_buffered()
        return sampler

    def test_the_window_slides_from_easy_to_hard_and_starts_over(self, feed: Callable[..., None]) -> None:
        loss = np.repeat(np.arange(10.0), 6)  # ten plain groups
        sampler = self._sampler(feed, loss, ratio=0.0)
        for number, first in ((1, 1), (2, 2), (5, 5), (6, 0), (8, 2)):
            sampler.sweeps = number
            groups = np.unique(loss[sampler.compose(0).ids])
            np.testing.assert_array_equal(groups, np.arange(first, first + 5))

    def test_the_first_pass_has_all_groups(self, feed: Callable[..., None]) -> None:
        sampler = self._sampler(feed, np.repeat(np.arange(10.0), 6), ratio=0.5)
        assert len(sampler.compose(0).ids) == 30

    def test_a_random_part_is_left_out(self, feed: Callable[..., None]) -> None:
        sampler = self._sampler(feed, np.repeat(np.arange(10.0), 6), ratio=0.25, window=1.0)
        sampler.sweeps = 1
        assert len(sampler.compose(0).ids) == 45

    def test_the_last_part_has_no_window(self, feed: Callable[..., None]) -> None:
        loss = np.repeat(np.arange(10.0), 6)
        sampler = self._sampler(feed, loss, ratio=0.1)
        sampler.sweeps = 7
        assert len(np.unique(loss[sampler.compose(1050).ids])) == 10
        assert len(np.unique(loss[sampler.compose(1049).ids])) == 5

    def test_equal_losses_make_one_group(self, feed: Callable[..., None]) -> None:
        sampler = self._sampler(feed, np.ones(60), ratio=0.0)
        sampler.sweeps = 3
        assert len(sampler.compose(0).ids) == 60

    @pytest.mark.parametrize("options", [{"ratio": 1.0}, {"groups": 0}, {"window": 0.0}, {"delta": -1.0}])
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(SamplingError, match=f"{next(iter(options))} must be"):
            SeTa(**options)


class TestKakurenbo:
    def _sampler(self, feed: Callable[..., None], budget: float = 0.5, **options: Any) -> Any:
        # Loss rises with the id; 0 to 4 are sure, 5 to 9 unsure, as little as their loss is.
        sampler = Kakurenbo(**options).build(Plan(20, epochs=20, budget=budget, seed=2))
        p_true = np.where(np.arange(20) < 5, 0.9, 0.6)
        feed(sampler, range(20), loss=np.arange(20) / 10, p_true=p_true)
        sampler.fold_buffered()
        return sampler

    def test_the_lowest_losses_hide_where_the_network_is_sure(self, feed: Callable[..., None]) -> None:
        new = self._sampler(feed, fraction=0.3).compose(0)
        np.testing.assert_array_equal(new.hidden, np.arange(5))  # six may hide, sample 5 moves back
        np.testing.assert_array_equal(new.ids, np.arange(5, 20))
        assert new.lr_scale == pytest.approx(1 / (1 - 5 / 20))

    @pytest.mark.parametrize(("progress", "hidden"), [(0, 4), (0.29, 4), (0.3, 3), (0.6, 2), (0.8, 1)])
    def test_fewer_hide_as_the_run_goes_on(
        self, feed: Callable[..., None], progress: float, hidden: int
    ) -> None:
        sampler = self._sampler(feed, fraction=0.2)
        assert len(sampler.compose(round(progress * 200)).hidden) == hidden

    def test_samples_never_seen_do_not_hide(self, feed: Callable[..., None]) -> None:
        sampler = Kakurenbo(fraction=0.5).build(Plan(20, epochs=20, seed=2))
        feed(sampler, [3], loss=0.1, p_true=0.99)
        sampler.fold_buffered()
        np.testing.assert_array_equal(sampler.compose(0).hidden, [3])

    def test_the_hidden_are_scored_when_their_pass_ends(self, feed: Callable[..., None]) -> None:
        # A pass of 15, rounds of 10: round 1 composes the next pass, so round 0 asks.
        sampler = self._sampler(feed, fraction=0.3)
        first = sampler.next_order()
        np.testing.assert_array_equal(first.score_ids, np.arange(5))
        feed(sampler, np.arange(5), loss=5.0, p_true=0.1)
        second = sampler.next_order()
        assert second.score_ids is None
        later = np.concatenate([second.ids[5:], *(sampler.next_order().ids for _ in range(2))])
        assert set(range(5)) <= set(later.tolist())

    def test_only_the_last_round_of_a_pass_asks_for_scores(self, feed: Callable[..., None]) -> None:
        sampler = self._sampler(feed, budget=0.25, fraction=0.3)  # a pass of 15 in rounds of 5
        asked = [sampler.next_order().score_ids is not None for _ in range(3)]
        assert asked == [False, False, True]

    def test_an_order_over_two_passes_has_the_mean_of_their_learning_rates(
        self, feed: Callable[..., None]
    ) -> None:
        sampler = self._sampler(feed, fraction=0.3)
        assert sampler.next_order().lr_scale == pytest.approx(4 / 3)
        feed(sampler, np.arange(5), loss=5.0, p_true=0.1)  # the next pass hides nobody
        assert sampler.next_order().lr_scale == pytest.approx((5 * 4 / 3 + 5) / 10)

    @pytest.mark.parametrize("options", [{"fraction": 1.0}, {"confidence": 0.3}])
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(SamplingError, match=f"{next(iter(options))} must be from"):
            Kakurenbo(**options)
