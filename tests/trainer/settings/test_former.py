"""Tables, options and folders of version 0.1."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from pipeline.augment.center_crop import CenterCrop
from tools.arguments import UsageError
from tools.cli import main
from tools.recipe_line import read_run
from tools.reporting import settings
from tools.reporting.folder import read_run as read_folder
from trainer import recipe
from trainer.account import PHASES, Ledger
from trainer.config import Run
from trainer.errors import RunError
from trainer.optimizers import SGD
from trainer.run_folder import RunFolder
from trainer.settings.comparison import digest, whole

FLAT = {"lr": 0.2, "momentum": 0.8, "nesterov": True, "weight_decay": 1e-3}


def as_then(table: dict[str, Any]) -> dict[str, Any]:
    """Return a run's table as version 0.1 wrote it."""
    options = dict(table["optimizer"])
    assert (options.pop("name"), options.pop("decay"), options.pop("layer_decay")) == ("sgd", "all", 1.0)
    assert options.pop("decoupled") is False
    return {**{key: value for key, value in table.items() if key != "optimizer"}, **options}


def test_flat_settings_are_read_as_sgd_that_decays_everything() -> None:
    notes: list[str] = []
    run = recipe.from_table(FLAT, "mine.toml", notes.append)
    assert run.optimizer == SGD(0.2, 0.8, nesterov=True, weight_decay=1e-3, decay="all")
    assert notes == [
        "mine.toml is of version 0.1: its lr, momentum, nesterov, weight_decay are read as options of the "
        'optimizer, name = "sgd", and decay = "all", as it trained'
    ]


@pytest.mark.parametrize("name", FLAT)
def test_one_flat_setting_is_enough(name: str) -> None:
    table = {name: FLAT[name]}
    assert recipe.from_table(table, "x").optimizer == SGD(**table, decay="all")  # type: ignore[arg-type]


def test_a_renamed_option_of_an_augmentation_is_read_and_keeps_the_digest() -> None:
    crop = CenterCrop(fraction=0.75)
    for table in ([{"name": "center_crop", "share": 0.75}], {"name": "center_crop", "share": 0.75}):
        assert recipe.from_table({"augment": table}, "x").augment == (crop,)
    assert digest(Run(augment=(crop,)))[:12] == "9579ecccc66c"
    assert whole({"augment": [{"name": "center_crop", "share": 0.75}]}) == recipe.to_table(
        Run(augment=(crop,))
    )


def test_tables_of_today_are_read_without_a_note() -> None:
    notes: list[str] = []
    for table in ({}, {"optimizer": "sgd"}, recipe.to_table(Run())):
        assert recipe.from_table(table, "x", notes.append).optimizer == SGD()
    assert notes == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lr": 0.0}, r"optimizer\.lr must be above 0 and finite; got 0"),
        ({"lr": "fast"}, r"x: optimizer sgd: lr must be float; got 'fast'"),
        ({"momentum": 0, "nesterov": True}, r"optimizer\.nesterov needs a momentum above 0"),
        (
            {"lr": 0.1, "optimizer": "sgd"},
            r"x: options of the optimizer must stand in its table; got lr beside it: write .*\[optimizer\]",
        ),
    ],
)
def test_bad_flat_settings_are_told(table: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        recipe.from_table(table, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.1"], "--lr is an option of the optimizer now: write --optimizer.lr"),
        (["--lr=0.1"], "--lr is an option of the optimizer now: write --optimizer.lr=0.1"),
        (["--momentum", "0"], "--momentum is an option of the optimizer now: write --optimizer.momentum"),
        (
            ["--augment.center-crop.share", "1"],
            "--augment.center-crop.share is renamed now: write --augment.center_crop.fraction",
        ),
        (["--nesterov"], "--nesterov is an option of the optimizer now: write --optimizer.nesterov"),
        (["--no-nesterov"], "--no-nesterov is an option of the optimizer now: write --optimizer.no-nesterov"),
        (
            ["--weight_decay", "1"],
            "--weight_decay is an option of the optimizer now: write --optimizer.weight-decay",
        ),
    ],
)
def test_options_of_then_name_those_of_now(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_run(["cifar10", *words], "trainer run", "")
    assert str(caught.value) == message


def test_options_of_now_keep_what_else_the_recipe_says() -> None:
    words = ["cifar100_multiplied", "--optimizer.lr", "0.3", "--optimizer.no-nesterov"]
    run, _ = read_run([*words, "--optimizer.weight-decay=0.01"], "trainer run", "")
    assert run.optimizer == SGD(lr=0.3, momentum=0.9, nesterov=False, weight_decay=0.01, decay="all")
    run, _ = read_run(["cifar10", "--optimizer", "sgd", "--optimizer.decay", "weights"], "trainer run", "")
    assert run.optimizer == SGD()


def test_the_command_line_notes_a_recipe_of_then_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({"data": "cifar10", **FLAT}))
    monkeypatch.delenv("RANK", raising=False)
    run, _ = read_run([str(path), "--optimizer.lr", "0.3"], "trainer run", "")
    assert run.optimizer == SGD(0.3, 0.8, nesterov=True, weight_decay=1e-3, decay="all")
    assert capsys.readouterr().err.count(f"note: {path} is of version 0.1") == 1
    monkeypatch.setenv("RANK", "1")
    read_run([str(path)], "trainer run", "")
    assert capsys.readouterr().err == ""


def test_a_folder_of_then_is_the_same_runs_and_no_others(tmp_path: Path) -> None:
    run = recipe.from_table(FLAT, "x")
    (tmp_path / "run.toml").write_text(tomli_w.dumps(as_then(recipe.to_table(run))))
    RunFolder(tmp_path, run)
    for other in ({**FLAT, "lr": 0.1}, {"optimizer": {"name": "sgd", **FLAT}}):
        with pytest.raises(RunError, match="holds a run with other settings"):
            RunFolder(tmp_path, recipe.from_table(other, "x"))


def test_a_finished_run_of_then_is_found_finished_and_compared_with_one_of_now(
    tiny_words: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words("--epochs", "0.5")) == 0
    now, then = tmp_path / "runs" / "x", tmp_path / "runs" / "then"
    shutil.copytree(now, then)
    table = as_then(tomllib.loads((now / "run.toml").read_text()))
    (then / "run.toml").write_text(tomli_w.dumps(table))
    ledger = then / "ledger.json"
    ledger.write_text(ledger.read_text().replace('"optimize"', '"optimise"'))
    assert read_folder(then).phases == read_folder(now).phases
    assert read_folder(now).phases["optimize"] > 0
    capsys.readouterr()
    assert main(["run", str(then / "run.toml"), "--name", "then", "--runs-dir", str(then.parent)]) == 0
    shown = capsys.readouterr()
    assert "This run is finished" in shown.out
    assert shown.err.count("note:") == 1
    # As reports compare runs: options that are newer than a folder are at their defaults.
    flat = [settings.flatten(whole(read_folder(path).recipe)) for path in (now, then)]
    assert flat[0] == flat[1]
    assert flat[1]["optimizer.decay"] == "all"
    assert "lr" not in flat[1]
    assert settings.seed_groups(flat) == [[0, 1]]
    assert main(["report", str(now), str(then), "--out", str(tmp_path / "both.html")]) == 0
    page = (tmp_path / "both.html").read_text()
    assert "optimizer.lr" in page
    assert "optimise" not in page
    assert json.loads((then / "ledger.json").read_text())["finished"]


def test_a_checkpoint_of_then_goes_on_with_its_phase() -> None:
    then = Ledger(torch.device("cpu"))
    then.add("optimize", 3.0)
    state = then.state_dict()
    state["phases"] = {
        {"optimize": "optimise"}.get(name, name): seconds for name, seconds in state["phases"].items()
    }
    now = Ledger(torch.device("cpu"))
    now.load_state_dict(state)
    assert tuple(now.seconds) == PHASES
    assert now.seconds["optimize"] == 3.0
