"""Recipes: read, checked, written back whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.augment.standard import Standard
from trainer import recipe
from trainer.config import Run
from trainer.errors import RunError
from trainer.optimizers import SGD
from trainer.run_folder import RunFolder, folder_name
from trainer.slots import SLOTS


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
    assert (run.epochs, run.batch_size, run.mean) == (200, 128, mean)
    assert run.optimizer == SGD(lr=0.1, momentum=0.9, nesterov=False, weight_decay=1e-4, decay="all")
    assert SLOTS["model"].part_name(run.model) == "resnet18"
    assert SLOTS["schedule"].part_name(run.schedule) == "linear"
    (standard,) = run.augment
    assert standard == Standard(flip=flip)


def test_parts_are_named_or_tabled_with_options() -> None:
    run = recipe.from_table(
        {
            "sampler": {"name": "p_sgd", "warmup_rounds": 3},
            "augment": ["standard", {"name": "ricap", "alpha": 1}],
        },
        where="here",
    )
    assert dataclasses.asdict(run.sampler)["warmup_rounds"] == 3  # type: ignore[call-overload]
    assert dataclasses.asdict(run.augment[1])["alpha"] == 1.0  # type: ignore[call-overload]


def test_mixing_alone_goes_after_the_standard_augmentation() -> None:
    names = [
        [
            SLOTS["augment"].part_name(part)
            for part in recipe.from_table({"augment": augmentation}, "x").augment
        ]
        for augmentation in (["ricap"], "mixup", ["none", "ricap"], ["standard", "mixup"])
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
        (
            {"precision": "fp8"},
            r"precision must be 'auto' \| 'bf16' \| 'fp16' \| 'tf32' \| 'fp32' \| 'fp64'; got 'fp8'",
        ),
        ({"std": [0.1, 0.0, 0.1]}, r"std must be above 0 in every channel"),
        ({"mean": [0.1, 0.2]}, r"recipe: mean must be .*got \[0\.1, 0\.2\]"),
        ({"name": "a/b"}, r"name must be one folder name without slashes"),
        ({"name": ".."}, r"name must be one folder name without slashes.*; got '\.\.'"),
        ({"name": "."}, r"name must be one folder name without slashes"),
        ({"name": "a\0b"}, r"name must be one folder name without .*control characters; got 'a\\x00b'"),
        ({"name": "x" * 201}, r"name must be at most 200 bytes long; got 201"),
        ({"epochs": float("inf")}, r"epochs must be at most 1,000,000; got inf"),
        ({"epochs": 1e300}, r"epochs must be at most 1,000,000; got 1e\+300"),
        (
            {"optimizer": {"name": "sgd", "lr": 10**400}},
            r"recipe: optimizer sgd: lr must be float; got a num",
        ),
        ({"optimizer": "sdg"}, r"optimizer must be one of sgd.*; got 'sdg'"),
        ({"mean": [float("nan"), 0, 0]}, r"mean must be finite in every channel"),
        ({"std": [1, float("nan"), 1]}, r"std must be above 0 in every channel"),
        ({"checkpoint_seconds": float("nan")}, r"checkpoint_seconds must be at least 0; got nan"),
        ({"checkpoint_seconds": -1}, r"checkpoint_seconds must be at least 0; got -1"),
        ({"threads": 100_000}, r"threads must be at least 1 and at most 1,024; got 100000"),
        ({"round_length": 1e-9}, r"round_length must be at least 0\.0001 and at most 1 epoch; got 1e-09"),
        ({"sampler": 5}, r"sampler must be a part's name, or a table with a name; got 5"),
        ({"sampler": ["p_sgd"]}, r"sampler must be a part's name, or a table with a name; got \['p_sgd'\]"),
        ({"augment": True}, r"augment must be a part's name, or a table with a name; got True"),
        ({"augment": [5]}, r"augment must be a part's name, or a table with a name; got 5"),
        ({"augment": []}, r'augment must name a part; got \[\]: "none" is for no augmentation'),
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


def test_a_number_beyond_what_python_reads_is_told(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text("seed = 1" + "0" * 5000)
    with pytest.raises(RunError, match=r"long\.toml must be TOML; .*digits"):
        recipe.load(str(tmp_path / "long.toml"))


def test_a_run_folder_is_named_within_the_folder_for_runs() -> None:
    assert folder_name(Run(name="mine")) == "mine"
    assert folder_name(Run()).startswith("custom-uniform-standard-b0.3-s0-")
    with pytest.raises(RunError, match=r"recipe must be one folder name without slashes.*; got '\.\./x'"):
        folder_name(Run(recipe="../x"))
    with pytest.raises(RunError, match=r"made of the run's parts must be at most 200 bytes long.*--name"):
        folder_name(Run(recipe="x" * 190))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"finished": 1}'])
def test_a_ledger_that_says_nothing_is_told(tmp_path: Path, content: str) -> None:
    folder = RunFolder(tmp_path, Run())
    assert not folder.finished
    (tmp_path / "ledger.json").write_text(content)
    with pytest.raises(RunError, match=r"ledger\.json must be as .*: move the folder away, or give another"):
        _ = folder.finished
    assert (tmp_path / "ledger.json").read_text() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lr = = 1", r"run\.toml must be as .*: move the folder away, or give another --name"),
        (b"\xff", r"run\.toml must be as .*: move the folder away, or give another --name"),
        (b"lr = 1979-05-27", r"holds a run with other settings"),
    ],
)
def test_a_damaged_run_toml_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        RunFolder(tmp_path, Run())
    assert "\n" not in str(caught.value)


def test_the_default_run_is_the_papers() -> None:
    assert Run().epochs == 200
    assert Run().optimizer == SGD(lr=0.1, momentum=0.9, weight_decay=1e-4)
