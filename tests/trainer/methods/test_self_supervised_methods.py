"""State of self-supervised methods beside the encoder: targets, queue, center, prototypes, groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from trainer.methods.byol import BYOL, BYOLMethod
from trainer.methods.dino import DINO, DINOMethod
from trainer.methods.embedding import width_of
from trainer.methods.grouped_norm import divisor, group_norms, set_groups
from trainer.methods.moco import MoCo, MoCoMethod
from trainer.methods.simclr import SimCLR
from trainer.methods.target import Target, cosine_momentum
from trainer.models.resnet import ResNet8


def built(config: Any) -> Any:
    torch.manual_seed(0)
    return config.build(ResNet8(width=4).build(classes=0))


def batch(n: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(np.arange(n), tuple(torch.randn(n, 3, 8, 8, generator=generator) for _ in range(2)), {})


def test_a_target_is_the_closed_form_of_its_average() -> None:
    """After k steps with momenta m_i: w_0 prod m_i + sum of (1 - m_i) w_i times the later momenta."""
    followed, other = nn.Linear(3, 2).double(), nn.Linear(2, 2).double()
    target = Target(followed, other)
    first = followed.weight.detach().clone()
    momenta = [cosine_momentum(0.9, step / 5) for step in range(1, 6)]
    weights = []
    for momentum in momenta:
        with torch.no_grad():
            followed.weight += torch.randn(2, 3, dtype=torch.float64)
        weights.append(followed.weight.detach().clone())
        target.follow(momentum)
    expected = first * math.prod(momenta)
    for index, (momentum, weight) in enumerate(zip(momenta, weights, strict=True)):
        expected = expected + (1 - momentum) * math.prod(momenta[index + 1 :]) * weight
    torch.testing.assert_close(target.encoder.weight, expected)
    assert not any(parameter.requires_grad for parameter in target.parameters())


def test_the_momentum_goes_from_its_base_to_1_by_half_a_cosine() -> None:
    assert cosine_momentum(0.996, 0) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 0.5) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 1) == 1


def test_byols_target_follows_both_modules_and_keeps_its_own_statistics() -> None:
    method: BYOLMethod = built(BYOL(hidden=8, out=4, momentum=0.0))
    method(batch(4)).loss.sum().backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    statistics = {name: value.clone() for name, value in method.target.named_buffers()}
    # Momentum (1 + 0) / 2 at half of the run.
    before = {name: value.clone() for name, value in method.target.named_parameters()}
    method.after_step(0.5)
    ours = dict(method.named_parameters())
    for name, value in method.target.named_parameters():
        torch.testing.assert_close(value, (before[name] + ours[name]) / 2)
    assert all(torch.equal(value, statistics[name]) for name, value in method.target.named_buffers())


def test_a_queue_holds_the_newest_keys_in_turn() -> None:
    method: MoCoMethod = built(MoCo(out=3, queue=10, shuffle_groups=1))
    keys = [F.normalize(torch.randn(4, 3), dim=1) for _ in range(4)]
    for number, step in enumerate(keys, 1):
        method._keys.add(step)
        method.after_step(1.0)
        assert int(method.pointer) == 4 * number % 10
    # Sixteen keys in a ring of ten: places 0 to 5 hold the last six, 6 to 9 those before.
    stream = torch.cat(keys)
    torch.testing.assert_close(method.queue, torch.cat((stream[10:16], stream[6:10])))


def test_more_keys_than_places_leave_the_newest() -> None:
    method: MoCoMethod = built(MoCo(out=3, queue=5, shuffle_groups=1))
    keys = F.normalize(torch.randn(8, 3), dim=1)
    method._keys.add(keys)
    method.after_step(1.0)
    torch.testing.assert_close(method.queue, keys[-5:])


def test_both_keys_of_a_step_are_queued_after_it() -> None:
    method: MoCoMethod = built(MoCo(out=3, queue=32))
    before = method.queue.clone()
    for number in range(2):
        method(batch(4, number))
    assert torch.equal(method.queue, before)
    method.after_step(0.5)
    # Two micro-batches of four images, each with two keys.
    assert int(method.pointer) == 16
    assert torch.equal(method.queue[16:], before[16:])
    torch.testing.assert_close(method.queue[:16].norm(dim=1), torch.ones(16))


def test_what_a_forward_pass_left_is_dropped_with_the_state_before_it() -> None:
    method: MoCoMethod = built(MoCo(out=3, queue=32))
    state = {name: value.clone() for name, value in method.state_dict().items()}
    method(batch(4))
    method.load_state_dict(state)
    method.after_step(0.5)
    assert int(method.pointer) == 0


def test_keys_stand_in_their_images_places_again() -> None:
    """With statistics of one group the order of a batch makes no difference."""
    method: MoCoMethod = built(MoCo(out=3, queue=8, shuffle_groups=1))
    view = batch(6).views[0]
    shuffled, plain = method._keys_of(view), method._key(view)
    torch.testing.assert_close(shuffled, plain, rtol=1e-4, atol=1e-5)


def test_groups_have_statistics_of_their_own() -> None:
    norm, x = nn.BatchNorm2d(3), torch.randn(6, 3, 2, 2)
    expected = torch.cat([nn.BatchNorm2d(3)(part) for part in x.chunk(3)])
    holder = nn.Sequential(norm)
    group_norms(holder)
    set_groups(holder, 3)
    torch.testing.assert_close(holder(x), expected)
    # Running statistics are the first group's.
    torch.testing.assert_close(norm.running_mean, 0.1 * x[:2].mean(dim=(0, 2, 3)))
    assert holder.state_dict().keys() == nn.Sequential(nn.BatchNorm2d(3)).state_dict().keys()


@pytest.mark.parametrize(
    ("count", "most", "parts"), [(128, 8, 8), (6, 8, 3), (7, 8, 1), (2, 8, 1), (9, 2, 1)]
)
def test_groups_divide_a_batch_and_have_two_images_at_least(count: int, most: int, parts: int) -> None:
    assert divisor(count, most) == parts


SMALL_DINO = DINO(hidden=8, bottleneck=4, out=6, frozen=0.5)


def teacher_mean(method: DINOMethod, given: Batch) -> Tensor:
    target = method.target
    with torch.no_grad():
        outputs = [target.projector(target.encoder(view)) for view in given.views]
    return torch.cat(outputs).mean(dim=0)


def test_a_center_is_an_average_of_the_teachers_outputs() -> None:
    method: DINOMethod = built(SMALL_DINO)
    mean = teacher_mean(method, batch(4))
    method(batch(4))
    assert torch.equal(method.center, torch.zeros(6))
    method.after_step(0.1)
    torch.testing.assert_close(method.center, 0.1 * mean)


def test_prototypes_are_frozen_at_first() -> None:
    method: DINOMethod = built(SMALL_DINO)
    weight = method.projector.prototypes.weight
    for progress, frozen in ((0.3, True), (0.5, True), (0.7, False)):
        method.zero_grad()
        method(batch(4)).loss.mean().backward()
        assert weight.grad is not None
        assert (weight.grad.abs().sum() == 0) == frozen
        assert method.projector.layers[0].weight.grad.abs().sum() > 0  # type: ignore[operator]
        method.after_step(progress)


def test_prototypes_count_by_their_direction() -> None:
    method: DINOMethod = built(SMALL_DINO)
    features = torch.randn(3, width_of(method.encoder))
    before = method.projector(features)
    with torch.no_grad():
        method.projector.prototypes.weight.mul_(3)
    torch.testing.assert_close(method.projector(features), before)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: BYOL(momentum=1.5), "method.momentum must be from 0 to 1; got 1.5"),
        (lambda: SimCLR(temperature=0), "method.temperature must be above 0 and finite; got 0"),
        (lambda: MoCo(queue=0), "method.queue must be at least 1; got 0"),
        (lambda: MoCo(shuffle_groups=0), "method.shuffle_groups must be at least 1; got 0"),
        (lambda: DINO(frozen=2), "method.frozen must be from 0 to 1, a fraction of the run; got 2"),
        (lambda: DINO(out=0), "method.out must be at least 1; got 0"),
    ],
)
def test_options_are_checked(make: Any, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()
