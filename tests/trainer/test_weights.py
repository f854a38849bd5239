"""Weights by name: all of a method's, whatever its parts are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.methods import Method
from trainer.weights import fingerprint, named_state, not_finite


class Headed(Method):
    """A method with a further layer by the name of one of the encoder's."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential())
        self.encoder.add_module("head", nn.Linear(2, 2))
        self.head = nn.Linear(2, 2)


def test_the_encoders_names_are_its_own() -> None:
    encoder = nn.Sequential(nn.Linear(2, 2))
    assert list(named_state(Method(encoder))) == list(encoder.state_dict())


@pytest.mark.parametrize("part", ["head", "encoder.head"])
def test_parts_of_one_name_are_told_apart(part: str) -> None:
    method = Headed()
    assert list(named_state(method)) == list(method.state_dict())
    before = fingerprint(method)
    with torch.no_grad():
        method.get_parameter(f"{part}.bias")[0] = torch.nan
    assert not_finite(method) == f"{part}.bias"
    assert fingerprint(method) != before
