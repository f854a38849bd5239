"""Settings of runs that earlier versions began, and settings that differ."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tools.cli import main
from tools.reporting.folder import read_run
from tools.reporting.lineup import line_up
from trainer import checkpoint, recipe
from trainer.config import Run
from trainer.errors import RunError
from trainer.run_folder import RunFolder, folder_name
from trainer.settings import comparison

NEWER = (
    "multiply",
    "multiply_classes",
    "threads",
    "precision",
    "resolution",
    "sampler.p_sgd",
    "augment.ricap",
)
"""Settings, options of a slot's part and of a chain's that a later version may have added."""


def lacking(table: dict[str, Any], names: tuple[str, ...] = NEWER) -> dict[str, Any]:
    """Return a run's table without some settings, and without the options of some parts."""
    left: dict[str, Any] = {}
    for key, value in table.items():
        parts = value if isinstance(value, list) else [value]
        cut = [
            {"name": p["name"]} if f"{key}.{p['name']}" in names else p for p in parts if isinstance(p, dict)
        ]
        if key not in names:
            left[key] = (cut if isinstance(value, list) else cut[0]) if cut else value
    return left


def p_sgd(**other: Any) -> Run:
    table = {"sampler": "p_sgd", "augment": ["standard", "ricap"], **other}
    return recipe.from_table(table, "x")


def test_settings_newer_than_a_run_folder_count_as_left_at_their_defaults(tmp_path: Path) -> None:
    run = p_sgd()
    table = recipe.to_table(run)
    assert lacking(table) != table
    (tmp_path / "run.toml").write_text(tomli_w.dumps(lacking(table)))
    RunFolder(tmp_path, run)
    for key, value in table.items():
        # Each alone, and each option of each part.
        (tmp_path / "run.toml").write_text(tomli_w.dumps({k: v for k, v in table.items() if k != key}))
        if key not in ("sampler", "augment"):
            RunFolder(tmp_path, run)
        for option in value if isinstance(value, dict) else ():
            if option != "name":
                cut = {k: v for k, v in value.items() if k != option}
                (tmp_path / "run.toml").write_text(tomli_w.dumps({**table, key: cut}))
                RunFolder(tmp_path, run)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"multiply": 2}, "multiply is 1 there and 2 here"),
        ({"sampler": {"name": "p_sgd", "relative": True}}, "sampler.relative is false there and true here"),
        ({"sampler": "rs2"}, 'sampler is "p_sgd" there and "rs2" here'),
        (
            {"augment": ["standard", {"name": "ricap", "alpha": 0.5}]},
            "augment.ricap.alpha is 0.3 there and 0.5",
        ),
        ({"augment": ["standard"]}, 'augment is "standard + ricap" there and "standard" here'),
        ({"optimizer": {"name": "sgd", "lr": 0.2}}, "optimizer.lr is 0.1 there and 0.2 here"),
        ({"threads": 1, "seed": 3, "epochs": 5, "budget": 0.1, "batch_size": 7}, "2 more differ"),
    ],
)
def test_settings_that_differ_are_refused_by_name(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    for table in (recipe.to_table(p_sgd()), lacking(recipe.to_table(p_sgd()))):
        (tmp_path / "run.toml").write_text(tomli_w.dumps(table))
        with pytest.raises(RunError, match="holds a run with other settings") as told:
            RunFolder(tmp_path, p_sgd(**other))
        assert named in str(told.value)
        assert "\n" not in str(told.value)


def test_a_setting_that_a_run_folder_has_and_this_version_has_not_is_refused(tmp_path: Path) -> None:
    table = {**recipe.to_table(Run()), "unheard_of": 3}
    (tmp_path / "run.toml").write_text(tomli_w.dumps(table))
    with pytest.raises(RunError, match="unheard_of is 3 there and unset here"):
        RunFolder(tmp_path, Run())


def test_a_part_that_stands_twice_in_a_chain_is_compared_twice(tmp_path: Path) -> None:
    ricaps = [[{"name": "ricap", "alpha": first}, {"name": "ricap", "alpha": 0.4}] for first in (0.1, 0.2)]
    tables = [{**recipe.to_table(Run()), "augment": augmentation} for augmentation in ricaps]
    assert comparison.flat(tables[0])["augment.ricap.alpha"] == [0.1, 0.4]
    flat = [comparison.flat(comparison.whole(table)) for table in tables]
    assert flat[0] != flat[1]


def test_a_run_whose_folder_lacks_newer_settings_goes_on_and_is_grouped(
    tiny_words: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words("--epochs", "1")) == 0
    folder, last = tmp_path / "runs" / "x", tmp_path / "runs" / "x" / "checkpoint" / "last.pt"
    (folder / "ledger.json").unlink()
    table = tomllib.loads((folder / "run.toml").read_text())
    usual = comparison.whole({})
    newer = tuple(key for key, value in table.items() if value == usual.get(key))
    assert "multiply" in newer
    (folder / "run.toml").write_text(tomli_w.dumps(lacking(table, newer)))
    state = checkpoint.load(last)
    checkpoint.save(last, {**state, "settings": lacking(state["settings"], newer)})
    capsys.readouterr()
    assert main(tiny_words("--epochs", "1")) == 0
    assert "note:" not in capsys.readouterr().err
    assert main([*tiny_words("--epochs", "1"), "--name", "y"]) == 0
    assert len(line_up([read_run(folder), read_run(folder.with_name("y"))]).groups) == 1
    assert main(tiny_words("--epochs", "1", "--multiply", "2")) == 2
    assert "multiply is 1 there and 2 here" in capsys.readouterr().err


def test_the_name_of_a_folder_is_made_of_what_is_not_left_at_its_default() -> None:
    run = p_sgd()
    digests = [comparison.digest(other) for other in (run, Run(), p_sgd(threads=1), p_sgd(multiply=2))]
    digests += [comparison.digest(p_sgd(sampler={"name": "p_sgd", "relative": True}))]
    digests += [comparison.digest(p_sgd(augment=["ricap", "standard"]))]
    assert len(set(digests)) == len(digests)
    assert comparison.digest(replace(run, log_every=7, name="y")) == comparison.digest(run)
    assert folder_name(run).endswith(digests[0][:6])


def test_prediction_variance_of_then_draws_without_replacement() -> None:
    for sampler in ("prediction_variance", {"name": "prediction_variance"}):
        run = recipe.from_table({"lr": 0.1, "sampler": sampler}, "x")
        assert run.sampler.replacement is False  # type: ignore[attr-defined]
    now = recipe.from_table({"sampler": "prediction_variance"}, "x")
    assert now.sampler.replacement is True  # type: ignore[attr-defined]


def test_a_run_goes_on_where_its_folder_was_moved_and_so_its_name_changed() -> None:
    here = Run(recipe="moved", epochs=7)
    assert comparison.differences(recipe.to_table(Run(recipe="photos", epochs=7)), here) is None
    assert comparison.differences(recipe.to_table(Run(recipe="photos", epochs=8)), here) == (
        "epochs is 8 there and 7 here"
    )
