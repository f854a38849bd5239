from __future__ import annotations

import numpy as np
import torch

from pipeline.mixture import Mixture

MIXTURE = Mixture.of(np.array([[0, 1], [1, 0]]), np.array([[0.75, 0.25], [0.5, 0.5]], np.float32))


def test_values_per_sample_become_values_per_constituent() -> None:
    labels = torch.tensor([7, 9])
    assert MIXTURE.gather(labels).tolist() == [[7, 9], [9, 7]]
    maps = torch.arange(24.0).view(2, 3, 4)
    gathered = MIXTURE.gather(maps)
    assert gathered.shape == (2, 2, 3, 4)
    assert torch.equal(gathered[1, 0], maps[1])


def test_an_images_value_is_the_sum_of_its_constituents_by_coefficients() -> None:
    values = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    assert MIXTURE.per_image(values).tolist() == [0.75 * 1 + 0.25 * 2, 0.5 * 4 + 0.5 * 8]


def test_a_sample_is_judged_by_the_images_that_show_it() -> None:
    """Sample 0 is shown by 3/4 of image 0 and 1/2 of image 1; sample 1 by the rest of both."""
    values = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    expected = [(0.75 * 1 + 0.5 * 8) / 1.25, (0.25 * 2 + 0.5 * 4) / 0.75]
    torch.testing.assert_close(MIXTURE.per_sample(values), torch.tensor(expected))


def test_a_sample_that_no_image_shows_is_judged_0() -> None:
    mixture = Mixture.of(np.array([[0], [0]]), np.ones((2, 1), np.float32))
    assert mixture.per_sample(torch.tensor([[1.0], [3.0]])).tolist() == [2.0, 0.0]


def test_a_mixture_of_mixtures_multiplies_coefficients() -> None:
    swapped = Mixture.of(np.array([[1, 0], [0, 1]]), np.array([[0.5, 0.5], [1, 0]], np.float32))
    both = swapped.after(MIXTURE)
    assert both.partners.tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]
    assert both.coefficients.tolist() == [[0.25, 0.25, 0.375, 0.125], [0.75, 0.25, 0, 0]]
    empty = Mixture.of(np.empty((0, 2), np.int64), np.empty((0, 2), np.float32))
    assert empty.after(empty).partners.shape == (0, 4)


def test_the_host_and_the_device_share_no_memory() -> None:
    mixture = Mixture.of(np.array([[0]]), np.ones((1, 1), np.float32))
    mixture.device_coefficients.zero_()
    mixture.device_partners.add_(1)
    assert mixture.coefficients.tolist() == [[1.0]]
    assert mixture.partners.tolist() == [[0]]
    assert mixture.to(torch.device("cpu")) is mixture
    assert mixture.to(torch.device("meta")).device_partners.device.type == "meta"


def test_credits_by_position_go_along() -> None:
    mixture = MIXTURE.by_position()
    assert mixture.partners.tolist() == [[*row, i] for i, row in enumerate(MIXTURE.partners.tolist())]
    assert mixture.coefficients[:, :-1].tolist() == MIXTURE.coefficients.tolist()
    assert mixture.coefficients[:, -1].tolist() == [0.0, 0.0]
    expected = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    for one in (mixture, mixture.to(torch.device("meta"))):
        assert one.credited is not None
        assert one.credited.tolist() == expected
    part = mixture[1:]
    assert part.credited is not None
    assert part.credited.tolist() == expected[1:]
    both = MIXTURE.after(mixture)
    assert both.credited is not None
    assert both.credited.sum(axis=1).tolist() == [1.0, 1.0]
    assert both.partners[:, -1].tolist() == [0, 1]
