from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import ArrayLike

from samplers.draws.counter import derive, exponential, gamma, make_key, unit, word


@njit
def _stream(key: Any, count: Any) -> Any:
    words = np.empty(count, np.uint64)
    for i in range(count):
        words[i] = word(key, i)
    return words


@njit(error_model="numpy")
def _exponentials(words: Any) -> Any:
    out = np.empty(words.size, np.float64)
    for i in range(words.size):
        out[i] = exponential(words[i])
    return out


@njit
def _units(words: Any) -> Any:
    out = np.empty(words.size, np.float64)
    for i in range(words.size):
        out[i] = unit(words[i])
    return out


def test_words_are_splitmix64() -> None:
    # The generator's published output for the state 1234567 (Rosetta Code's reference values).
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert _stream(np.uint64(1234567), 4).tolist() == expected


def test_exponential_is_minus_log_of_its_uniform() -> None:
    edges = [0, 1, 2**12, 2**52, 2**63 - 1, 2**63, 2**64 - 2**13, 2**64 - 2**12, 2**64 - 1]
    words = np.concatenate([_stream(np.uint64(1), 20_000), np.array(edges, np.uint64)])
    uniform = [((int(bits) >> 12) + 0.5) * 2.0**-52 for bits in words]
    np.testing.assert_allclose(_exponentials(words), -np.log(uniform), rtol=2e-12)
    assert (_exponentials(words) > 0).all()


def test_exponentials_and_units_are_distributed_as_they_say(
    deviation: Callable[[ArrayLike, ArrayLike], float],
) -> None:
    words = _stream(make_key(3, "test"), 200_000)
    for values in (1 - np.exp(-_exponentials(words)), _units(words)):
        counts = np.histogram(values, bins=1000, range=(0, 1))[0]
        assert deviation(counts, np.full(1000, 200.0)) < 4.75


def test_the_smallest_exponentials_are_resolved() -> None:
    # Uniform on a 2^-53 grid: below 1e-6, where a draw of few ids from 1e8 is decided, still all different.
    words = (np.uint64(2**64 - 1) - np.arange(0, 2**44, 2**32, dtype=np.uint64)).astype(np.uint64)
    values = _exponentials(words)
    assert len(np.unique(values)) == len(values)
    assert values.max() < 1e-6


@pytest.mark.parametrize("other", [(1, "order", 0), (0, "pass", 0), (0, "order", 1), (2**64 - 1, "order", 0)])
def test_keys_differ_by_seed_stream_and_number(other: Any) -> None:
    assert make_key(0, "order", 0) != make_key(*other)


def test_keys_are_stable() -> None:
    assert int(make_key(0, "order", 0)) == 14583653228824870583
    assert make_key(-1, "order") == make_key(2**64 - 1, "order")


def test_derived_streams_are_not_shifts_of_their_parent() -> None:
    key = make_key(0, "order")
    parent = set(_stream(key, 5000).tolist())
    for number in range(4):
        assert not parent & set(_stream(derive(key, number), 5000).tolist())


@pytest.mark.parametrize("shape", [1, 3, 500])
def test_gamma_is_a_sum_of_exponentials(
    shape: int, deviation: Callable[[ArrayLike, ArrayLike], float]
) -> None:
    drawn = np.sort([gamma(shape, make_key(0, "gamma", number)) for number in range(4000)])
    sums = np.random.default_rng(0).exponential(size=(20_000, shape)).sum(axis=1)
    edges = np.quantile(sums, np.linspace(0, 1, 21)[1:-1])
    counts = np.bincount(np.searchsorted(edges, drawn), minlength=20)
    # The edges come from a sample, too: their own spread adds a fifth to the variance of the counts.
    assert deviation(counts / np.sqrt(1.2), np.full(20, 200.0) / np.sqrt(1.2)) < 4.75
    assert abs(drawn.mean() - shape) < 4.9 * np.sqrt(shape / 4000)
