"""Recipes: read, checked, written back whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline import AUGMENTS
from trainer import config, recipe
from trainer.config import Run
from trainer.errors import RunError


@pytest.mark.parametrize("name", recipe.recipes())
def test_every_recipe_loads_and_survives_being_written_out(name: str, tmp_path: Path) -> None:
    run = recipe.load(name)
    assert run.recipe == name
    path = tmp_path / "run.toml"
    path.write_text(recipe.dumps(run))
    assert recipe.load(str(path)) == run


@pytest.mark.parametrize("name", recipe.recipes())
def test_every_recipe_opens_with_its_command_and_hardware(name: str) -> None:
    head = recipe.recipes()[name].read_text().split("\n\n")[0]
    assert f"trainer run {name} " in head
    assert "Hardware:" in head


@pytest.mark.parametrize(
    ("name", "mean", "flip"),
    [
        ("cifar10", (0.4914, 0.4822, 0.4465), True),
        ("cifar100", (0.5071, 0.4867, 0.4408), True),
        ("svhn", (0.5, 0.5, 0.5), False),
        ("mini_imagenet", (0.4728, 0.4487, 0.4031), True),
    ],
)
def test_the_papers_data_sets_have_its_reference_settings(
    name: str, mean: tuple[float, float, float], flip: bool
) -> None:
    run = recipe.load(name)
    assert (run.epochs, run.batch_size, run.lr, run.momentum) == (200, 128, 0.1, 0.9)
    assert (run.nesterov, run.weight_decay, run.mean) == (False, 1e-4, mean)
    assert config.part_name("model", run.model) == "resnet18"
    assert config.part_name("schedule", run.schedule) == "linear"
    (standard,) = run.augment
    assert standard == AUGMENTS["standard"](flip=flip)  # type: ignore[call-arg]


def test_parts_are_named_or_tabled_with_options() -> None:
    run = recipe.from_table(
        {
            "sampler": {"name": "p_sgd", "warmup_rounds": 3},
            "augment": ["standard", {"name": "ricap", "alpha": 1}],
        },
        where="here",
    )
    assert dataclasses.asdict(run.sampler)["warmup_rounds"] == 3
    assert dataclasses.asdict(run.augment[1])["alpha"] == 1.0


def test_mixing_alone_goes_after_the_standard_augmentation() -> None:
    names = [
        [config.part_name("augment", part) for part in recipe.from_table({"augment": chain}, "x").augment]
        for chain in (["ricap"], "mixup", ["none", "ricap"], ["standard", "mixup"])
    ]
    assert names == [["standard", "ricap"], ["standard", "mixup"], ["none", "ricap"], ["standard", "mixup"]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"budget": 0}, r"budget must be above 0 and at most 1.*got 0"),
        ({"budget": 1.5}, r"budget must be above 0 and at most 1.*got 1\.5"),
        ({"budget": "half"}, r"recipe: budget must be float; got 'half'"),
        ({"epochs": True}, r"recipe: epochs must be float; got True"),
        ({"epochs": -1}, r"epochs must be above 0; got -1"),
        ({"batch_size": 1}, r"batch_size must be at least 2"),
        ({"batch_size": 2.5}, r"recipe: batch_size must be int; got 2\.5"),
        ({"budgett": 0.3}, r"recipe: option must be one of .*budget.*; got 'budgett'"),
        ({"sampler": "psgd"}, r"sampler must be one of scan, uniform, .*; got 'psgd'"),
        ({"sampler": {"name": "p_sgd", "warm": 1}}, r"recipe: sampler p_sgd: option must be one of .*'warm'"),
        ({"sampler": {"warmup_rounds": 1}}, r"sampler must be a part's name, or a table with a name"),
        ({"augment": ["ricapp"]}, r"augment must be one of none, standard, .*; got 'ricapp'"),
        ({"precision": "fp16"}, r"precision must be 'auto' \| 'bf16' \| 'fp32'; got 'fp16'"),
        ({"std": [0.1, 0.0, 0.1]}, r"std must be above 0 in every channel"),
        ({"mean": [0.1, 0.2]}, r"recipe: mean must be .*got \[0\.1, 0\.2\]"),
        ({"name": "a/b"}, r"name must be one folder name without slashes"),
        ({"momentum": 1.0}, r"momentum must be at least 0 and below 1"),
        ({"threads": 0}, r"threads must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_with_rule_and_value(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        recipe.from_table(table, where="recipe")
    assert "\n" not in str(caught.value)


def test_a_recipe_that_does_not_exist_lists_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"recipe must be one of .*cifar10.*; got 'cifar'"):
        recipe.load("cifar")
    with pytest.raises(RunError, match="does not exist"):
        recipe.load(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("budget = = 3")
    with pytest.raises(RunError, match=r"broken\.toml must be TOML"):
        recipe.load(str(broken))


def test_the_default_run_is_the_papers() -> None:
    assert Run().epochs == 200
    assert Run().lr == 0.1
