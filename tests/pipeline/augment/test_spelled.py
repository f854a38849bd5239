from __future__ import annotations

import dataclasses
import typing

import pytest

from pipeline.augment import AUGMENTS
from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.blur import Blur
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.spelled import spelled
from pipeline.augment.standard import Standard
from pipeline.errors import DataError


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("standard", Standard()),
        ("standard:padding=0:flip=false", Standard(padding=0, flip=False)),
        ("autoaugment:policy=imagenet", Autoaugment(policy="imagenet")),
        ("randaugment:operations=3:magnitude=18:space=modern", Randaugment(3, 18, "modern")),
        ("randaugment:magnitude=none", Randaugment()),
        ("random_resized_crop:scale=0.35,1:flip=true", RandomResizedCrop(scale=(0.35, 1.0))),
        ("random_resized_crop:size=8", RandomResizedCrop(size=8)),
        ("random_resized_crop:size=8,9", RandomResizedCrop(size=(8, 9))),
        ("blur:sigma=1e-1,2:kernel=3", Blur(sigma=(0.1, 2.0), kernel=3)),
    ],
)
def test_a_part_is_what_its_text_spells(text: str, part: object) -> None:
    made = spelled(text, AUGMENTS)
    assert made == part
    for item in dataclasses.fields(part):  # type: ignore[arg-type]
        assert type(getattr(made, item.name)) is type(getattr(part, item.name))


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", [name for name in AUGMENTS if name not in ("multi", "transform")])
def test_every_option_of_every_part_can_be_spelled(name: str) -> None:
    part = AUGMENTS[name]()
    options = [f":{item.name}={_written(getattr(part, item.name))}" for item in dataclasses.fields(part)]  # type: ignore[arg-type]
    assert spelled(name + "".join(options), AUGMENTS) == part


def test_defaults_hold_unless_the_text_sets_them() -> None:
    assert spelled("randaugment:magnitude=3", AUGMENTS, space="modern") == Randaugment(2, 3, "modern")
    assert spelled("randaugment:space=original", AUGMENTS, space="modern") == Randaugment()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "standard:pad=4",
            "an option of standard must be one of padding=, flip=, fill=, alternate=; got 'pad=4' in "
            "'standard:pad=4'",
        ),
        ("standard:padding", "one of padding=, flip=, fill=, alternate=; got 'padding'"),
        ("standard:", "one of padding=, flip=, fill=, alternate=; got ''"),
        ("none:flip=true", "an option of none must be one of .none.; got 'flip=true'"),
        ("standard:flip=true:flip=false", "an option must be set once; got flip twice"),
        ("standard:padding=4.5", "padding of standard must be a whole number; got '4.5'"),
        ("standard:padding=", "padding of standard must be a whole number; got ''"),
        ("standard:flip=yes", "flip of standard must be true or false; got 'yes'"),
        ("standard:flip=True", "flip of standard must be true or false; got 'True'"),
        (
            "autoaugment:policy=cifar",
            "policy of autoaugment must be cifar10 or svhn or imagenet; got 'cifar'",
        ),
        ("randaugment:magnitude=strong", "magnitude of randaugment must be a whole number or none; got"),
        (
            "random_resized_crop:scale=0.5",
            "scale of .* must be 2 numbers separated by a comma; got '0.5'",
        ),
        ("random_resized_crop:scale=0.5,1,2", "must be 2 numbers separated by a comma; got '0.5,1,2'"),
        ("standard:padding=-1", "padding must be at least 0 pixels; got -1"),
        ("blur:sigma=nan,nan", "sigma must be two numbers above 0"),
    ],
)
def test_what_cannot_be_understood_is_one_line(text: str, line: str) -> None:
    with pytest.raises(DataError, match=line) as caught:
        spelled(text, AUGMENTS)
    assert "\n" not in str(caught.value)


def test_every_type_of_option_has_a_name_to_be_called_by() -> None:
    for name, cls in AUGMENTS.items():
        hints = typing.get_type_hints(cls)
        for item in dataclasses.fields(cls):  # type: ignore[arg-type]
            if name != "multi" and hints[item.name] is not str:
                with pytest.raises(DataError, match=f"{item.name} of {name} must be .*; got '\\?'"):
                    spelled(f"{name}:{item.name}=?", AUGMENTS)
