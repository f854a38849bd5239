from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.randomness import (
    Keys,
    batch_uniforms,
    integers,
    occurrences,
    permutation,
    philox4x32,
    sample_doubles,
    stream_key,
    uniforms,
)

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
DIGEST = """
import numpy as np
from pipeline.randomness import *
keys = Keys(2**32 - 1, 7, 3, np.array([0, 1, 2**40 - 1, 12345678901]), np.array([0, 1, 2, 3]))
print(uniforms(keys, "a", 5).tobytes().hex(), sample_doubles(keys, "b", 3, 2).tobytes().hex(),
      batch_uniforms(keys, "c", 5).tobytes().hex(), occurrences(np.array([3, 1, 3, 3])).tolist())
"""


def keys_of(ids: list[int] | np.ndarray, **changes: object) -> Keys:
    given_ids = np.asarray(ids, dtype=np.int64)
    options = {"seed": 1, "round": 2, "step": 3, "occurrences": np.zeros_like(given_ids), **changes}
    return Keys(ids=given_ids, **options)  # type: ignore[arg-type]


def reference(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox as the paper writes it, on unbounded integers."""
    (r0, l0, r1, l1), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(r0 * 0xD2511F53, 1 << 32)
        high1, low1 = divmod(r1 * 0xCD9E8D57, 1 << 32)
        r0, l0, r1, l1 = high1 ^ l0 ^ k0, low1, high0 ^ l1 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % (1 << 32), (k1 + 0xBB67AE85) % (1 << 32)
    return r0, l0, r1, l1


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]) -> None:
    assert tuple(philox4x32(*counter, *key)) == words
    interpreted = getattr(philox4x32, "py_func", philox4x32)
    assert tuple(interpreted(*counter, *key)) == words


word = st.integers(0, ONES)


@given(st.tuples(word, word, word, word), st.tuples(word, word))
def test_any_counter_equals_the_paper(counter: tuple[int, ...], key: tuple[int, ...]) -> None:
    assert tuple(philox4x32(*counter, *key)) == reference(counter, key)


@settings(deadline=None)  # The kernel is compiled in between.
@given(st.integers(0, 2**40 - 1), st.integers(0, ONES), st.integers(0, ONES), st.integers(0, ONES))
def test_uniforms_are_the_words_of_their_counter(id_: int, occurrence: int, round_: int, seed: int) -> None:
    keys = keys_of([id_], occurrences=np.array([occurrence]), round=round_, seed=seed)
    drawn = uniforms(keys, "crop", 6)
    assert drawn.dtype == np.float32
    key = (seed, stream_key("sample/crop"))
    expected = []
    for block in (0, 1):
        counter = (id_ & ONES, (id_ >> 32 << 24) | block, occurrence, round_)
        expected += [(word >> 8) / 2**24 for word in reference(counter, key)]
    assert drawn[0].tolist() == expected[:6]


def test_doubles_use_53_bits_of_two_words() -> None:
    words = reference((9, 1, 0, 2), (1, stream_key("sample/s")))
    drawn = sample_doubles(keys_of([9]), "s", 2, first=2)
    expected = [((words[k] >> 5) * 2**26 + (words[k + 1] >> 6)) / 2**53 for k in (0, 2)]
    assert drawn[0].tolist() == expected


def test_batch_uniforms_depend_on_the_step_and_on_no_sample() -> None:
    drawn = batch_uniforms(keys_of([1, 2, 3]), "s", 3)
    words = reference((3, 0, 0, 2), (1, stream_key("batch/s")))
    assert drawn.dtype == np.float64
    assert drawn[0] == ((words[0] >> 5) * 2**26 + (words[1] >> 6)) / 2**53
    assert (drawn == batch_uniforms(keys_of([7]), "s", 3)).all()
    assert (drawn != batch_uniforms(keys_of([1, 2, 3], step=4), "s", 3)).all()


def test_draws_do_not_depend_on_the_batch() -> None:
    ids = np.arange(40)
    whole = uniforms(keys_of(ids), "s", 3)
    parts = [uniforms(keys_of(part), "s", 3) for part in np.array_split(ids, 7)]
    assert (whole == np.concatenate(parts)).all()


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"round": 3}, {"occurrences": np.ones(100, np.int64)}, {"scope": "2/"}]
)
def test_everything_a_draw_is_keyed_by_changes_it(change: dict[str, object]) -> None:
    ids = np.arange(100)
    plain, changed = uniforms(keys_of(ids), "s", 1), uniforms(keys_of(ids, **change), "s", 1)
    assert (plain != changed).mean() > 0.95
    assert (plain != uniforms(keys_of(ids), "t", 1)).mean() > 0.95
    assert (plain != uniforms(keys_of(ids + 2**32), "s", 1)).mean() > 0.95


def test_the_step_does_not_change_a_samples_draws() -> None:
    assert (uniforms(keys_of([1, 2]), "s", 4) == uniforms(keys_of([1, 2], step=9), "s", 4)).all()


def test_uniforms_are_uniform() -> None:
    drawn = uniforms(keys_of(np.arange(50_000)), "s", 4).ravel()
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    # 99 degrees of freedom: 185 has p = 4e-7.
    assert chi_square < 185
    assert drawn.min() >= 0
    assert drawn.max() < 1
    neighbors = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(neighbors) < 5 / np.sqrt(drawn.size)


def test_integers_never_reach_their_bound() -> None:
    largest = np.array([1 - 2.0**-24], dtype=np.float32)
    for bound in (1, 3, 9, 31, 2**20 + 1):
        assert integers(largest, bound).tolist() == [bound - 1]
    assert integers(np.zeros(1, np.float32), 9).tolist() == [0]


def test_permutations_are_uniform() -> None:
    seen: dict[tuple[int, ...], int] = {}
    for step in range(6000):
        drawn = permutation(keys_of([5, 6, 7], step=step), "p")
        assert sorted(drawn.tolist()) == [0, 1, 2]
        seen[tuple(drawn.tolist())] = seen.get(tuple(drawn.tolist()), 0) + 1
    # 5 degrees of freedom: 36 has p = 9e-7.
    assert len(seen) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in seen.values()) < 36


@given(st.lists(st.sampled_from([0, 1, 2, 3, 2**33, 2**40 - 1]), max_size=30))
def test_occurrences_count_what_came_earlier(ids: list[int]) -> None:
    counted = occurrences(np.array(ids, dtype=np.int64))
    assert counted.dtype == np.int64
    assert counted.tolist() == [ids[:place].count(value) for place, value in enumerate(ids)]


@pytest.mark.parametrize("wrong", [-1, 2**40])
def test_ids_that_no_counter_holds_are_refused(wrong: int) -> None:
    with pytest.raises(DataError, match=r"ids must be in \[0, 2\*\*40\)"):
        occurrences(np.array([3, wrong]))


@pytest.mark.parametrize("wrong", [-1, 2**32])
def test_seeds_that_no_key_holds_are_refused(wrong: int) -> None:
    with pytest.raises(DataError, match="seed must be at least 0"):
        keys_of([1], seed=wrong)


def test_streams_are_told_apart_for_good() -> None:
    assert stream_key("standard") == 0xAC7EF3E3
    names = [f"{part}/{k}" for part in ("a", "b", "ab") for k in range(500)]
    assert len({stream_key(name) for name in names}) == len(names)


def test_interpreted_code_draws_the_same() -> None:
    def run(disabled: str) -> str:
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        command = [sys.executable, "-W", "error", "-c", DIGEST]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert run("1") == run("0")


def test_an_empty_batch_draws_nothing() -> None:
    empty = keys_of([])
    assert uniforms(empty, "s", 3).shape == (0, 3)
    assert permutation(empty, "s").shape == (0,)
    assert occurrences(empty.ids).shape == (0,)
