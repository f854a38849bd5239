"""Arrays packed into one block come back as they were, on the host and as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from pipeline import AUGMENTS, Augmentation, Mixture
from pipeline.augment import HostDraws
from pipeline.ops.memory import place, place_all
from pipeline.ops.packing import Layout, packed
from pipeline.randomness import Keys

CPU = torch.device("cpu")
DTYPES = [np.bool_, np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64]

ARRAYS: st.SearchStrategy[list[NDArray[Any]]] = st.lists(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays_of.arrays(
            dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)
        )
    ),
    max_size=8,
)


@given(ARRAYS)
def test_arrays_come_back_from_one_aligned_block(arrays: list[NDArray[Any]]) -> None:
    block, layout = packed(arrays)
    assert block.nbytes == layout.size
    assert layout.size % 16 == 0
    assert all(first % 16 == 0 for _, _, first in layout.entries)
    tensors = layout.tensors(torch.from_numpy(block))
    for array, there, tensor in zip(arrays, layout.arrays(block), tensors, strict=True):
        assert there.dtype == array.dtype
        assert there.tobytes() == array.tobytes()
        expected = place(array.copy(), CPU)
        assert tensor.dtype == expected.dtype
        assert tensor.shape == array.shape
        assert tensor.numpy().tobytes() == array.tobytes()


def test_a_strided_array_and_one_that_is_read_only_are_packed() -> None:
    strided = np.arange(24).reshape(4, 6)[:, ::2]
    fixed = np.arange(5, dtype=np.float32)
    fixed.setflags(write=False)
    block, layout = packed([strided, fixed])
    assert (layout.arrays(block)[0] == strided).all()
    assert (layout.arrays(block)[1] == fixed).all()


def test_on_the_cpu_arrays_are_shared_and_not_copied() -> None:
    arrays: list[NDArray[Any]] = [np.arange(3), np.ones((2, 2), np.float32)]
    first, second = place_all(arrays, CPU)
    assert first.data_ptr() == arrays[0].ctypes.data
    assert second.data_ptr() == arrays[1].ctypes.data


@pytest.mark.parametrize("name", ["randaugment", "multi", "ricap", "standard"])
def test_packed_draws_augment_as_draws_placed_one_by_one(name: str) -> None:
    """Bit for bit: kernels read views of one block."""
    augmentation = Augmentation([AUGMENTS[name]()], [0.5] * 3, [0.25] * 3)
    keys = Keys(3, 1, 2, np.arange(40), np.zeros(40, np.int64))
    drawn = augmentation.draw(keys, 20, 24)
    images = torch.randint(0, 256, (40, 20, 24, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    elsewhere = torch.device("meta")
    arrays = drawn.arrays(elsewhere)
    block, layout = packed(arrays)
    assert layout == Layout.of(arrays)
    draws, mixture = drawn.of(iter(layout.tensors(torch.from_numpy(block))), elsewhere)
    alone, own = drawn.to(CPU)
    assert torch.equal(augmentation.transform(images, draws), augmentation.transform(images, alone))
    if own is not None:
        assert mixture is not None
        assert torch.equal(mixture.device_partners, own.device_partners)
        assert torch.equal(mixture.device_coefficients, own.device_coefficients)
        assert mixture.partners is own.partners


def test_what_a_mixture_is_credited_by_stays_with_it() -> None:
    mixture = Mixture.of_pairs(np.array([1, 0]), np.array([0.25, 0.5], np.float32)).by_position()
    drawn, elsewhere = HostDraws((), mixture), torch.device("meta")
    block, layout = packed(drawn.arrays(elsewhere))
    _, placed = drawn.of(iter(layout.tensors(torch.from_numpy(block))), elsewhere)
    assert placed is not None
    assert placed.credited is mixture.credited
    assert torch.equal(placed.device_partners, mixture.device_partners)
