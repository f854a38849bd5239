"""A study's file: its entries, and one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.studying.cells import Place, final_cells, trial_cells
from tools.studying.definition import read_study, studies
from trainer.errors import RunError

Write = Callable[..., Path]
CHOOSE = """
[choose]
per = "sampler"
trials = 2
[choose.settings]
"optimizer.lr" = [0.1, 0.2]
"""


def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "runs")


def test_a_grid_in_the_order_in_which_it_runs(write: Write, tmp_path: Path) -> None:
    study = read_study(str(write("first = [{ augment = 'ricap', sampler = 'p_sgd' }]\n")))
    assert [arm.name for arm in study.arms] == [
        *("ricap-p_sgd", "standard-uniform", "standard-p_sgd", "ricap-uniform"),
    ]
    cells = final_cells(study, place(tmp_path), {})
    assert [cell.name for cell in cells][:6] == [
        *("ricap-p_sgd-s0", "ricap-p_sgd-s1", "ricap-p_sgd-s2"),
        *("standard-uniform-s0", "standard-p_sgd-s0", "ricap-uniform-s0"),
    ]
    run = cells[0].run
    assert run.seed == 0
    assert cells[0].folder == tmp_path / "runs" / "some" / "ricap-p_sgd-s0"
    assert [type(part).__name__ for part in run.augment] == ["Standard", "Ricap"]
    pairs = {arm.name: study.counterpart(arm, study.baselines[0]) for arm in study.arms}
    assert pairs["ricap-uniform"] is None
    assert pairs["ricap-p_sgd"] is not None
    assert pairs["ricap-p_sgd"].name == "ricap-uniform"


def test_a_part_chosen_for_all_cells_gives_way_to_an_axis(write: Write, tmp_path: Path) -> None:
    path = write(after='[settings]\nsampler = "scan"\n')
    cells = {cell.arm.name: cell for cell in final_cells(read_study(str(path)), place(tmp_path), {})}
    assert type(cells["standard-p_sgd"].run.sampler).__name__ == "PSGD"
    assert type(cells["standard-uniform"].run.sampler).__name__ == "Uniform"


def test_labeled_settings_exclusions_and_overrides(write: Write, tmp_path: Path) -> None:
    study = read_study(
        str(
            write(
                after="""
budget = [0.1, 0.5]
[grid.method]
plain = {}
foms = { selection = "foms", "selection.ratio" = 3.0 }
[[exclude]]
budget = 0.5
augment = "ricap"
[[override]]
where = { method = "foms", budget = 0.1 }
set = { "optimizer.lr" = 0.01 }
"""
            )
        )
    )
    assert len(study.arms) == 12
    cells = {cell.name: cell for cell in final_cells(study, place(tmp_path), {})}
    cell = cells["standard-uniform-0.1-foms-s1"]
    assert (cell.run.budget, cell.run.optimizer.lr) == (0.1, 0.01)
    assert cell.run.selection.ratio == 3
    assert cells["standard-uniform-0.5-foms-s1"].run.optimizer.lr == 0.1


MISTAKES = [
    ({'"p_sgd"]': '"psgd"]'}, "", "", "sampler must be one of "),
    ({'"p_sgd"]': '{ name = "p_sgd", warm = 3 }]'}, "", "", "a value with options must have a label"),
    ({}, "", "bugdet = [0.1]", "some.toml: standard-uniform-0.1: option must be one of data, "),
    ({}, "", '"sampler.tau" = [1.0]', "option must be one of (none); got 'tau'"),
    ({}, "", '"sampler.x.y" = [1]', "must name an option, as sampler.OPTION"),
    ({}, "", '"augment.cutout.length" = [1]', "must name a part in use and its option"),
    ({}, "", '"lr.x" = [1]', "must begin with a slot"),
    ({}, "", "seed = [1]", "seed must not be set in a study: list the study's seeds"),
    ({}, "", "[data.x]\nof = 'cifar10'", "must have samples, classes or without_classes; got none"),
    ({}, "", "[data.x]\nof = 'cifar10'\nclasses = 'dog'", "classes must be a list of names"),
    ({}, "", "[data.x]\nof = 'a'\nclasses = ['b']\nwithout_classes = ['c']", "got both: name those to keep"),
    ({}, "", "epochs = []", "grid.epochs must hold a value; got none"),
    ({}, "", "epochs = 3", "must be a list of values or a table"),
    ({}, "", "epochs = [3, 3]", "must hold each value once; got 3 twice"),
    ({}, "", '[grid.many]\na = { budget = 0.3 }\nb = { budget = 0.3 }', "cells must differ; "),
    ({}, "", '[grid.many]\n"a/b" = { budget = 0.3 }', "a label must be of letters"),
    ({}, "", "[[exclude]]\nsampler = 'rs2'", "sampler must be one of uniform, p_sgd; got 'rs2'"),
    ({}, "", "[[exclude]]\nsamplers = 'p_sgd'", "must name axes of the grid, augment, sampler"),
    ({}, "", "[[exclude]]\nsampler = ['uniform', 'p_sgd']", "a grid must have a cell; exclude leaves none"),
    ({}, "", "[[override]]\nwhere = {sampler='p_sgd'}", "must have where and set"),
    ({"seeds = [0, 1, 2]": "seeds = []"}, "", "", "seeds must be a list of whole numbers"),
    ({"seeds = [0, 1, 2]": "seeds = [1, 1]"}, "", "", "seeds must differ; got 1 twice"),
    ({"seeds = [0, 1, 2]": "seeds = [-1]"}, "", "", "seeds must be whole numbers of at least 0"),
    ({'"uniform" }': '"rs2" }'}, "", "", "baseline: sampler must be one of uniform, p_sgd"),
    ({'"uniform" }': '["uniform", "p_sgd"] }'}, "", "", "sampler must be one label"),
    ({'recipe = "fashion_mnist_cpu"\n': ""}, "", "", "a study must name its recipe"),
    ({}, "tset = 't'\n", "", "a study's key must be one of title, "),
    ({}, "test = 'u'\n", "", "test must be one of t, sign_flip; got 'u'"),
    ({}, "target = 'high'\n", "", "target must be a value of the primary metric"),
    ({}, "first = { sampler = 'scan' }\n", "", "first: sampler must be one of"),
    ({}, "", "[data.x]\nof = 'y'\nsamples = 0", "samples must be a whole number of at least 1"),
    ({}, "", "[data.x]\nsamples = 3", "must name the set that it is taken from"),
    ({}, "", "[data.x]\nof = 'y'\nsamples = 3\nvalidation = 1", "validation must be at least 0 and below 1"),
    ({}, "", "[data.x]\nfrom = 'y'", "key must be one of of, samples, validation, seed"),
    ({}, "", CHOOSE.replace("[choose]", "[choose]\nsplit = 'test'"), "must be made on held-out training"),
    ({}, "", CHOOSE.replace('"sampler"', '"method"'), "per must name axes of the grid"),
    ({}, "", CHOOSE.replace("[0.1, 0.2]", "[0.1]"), "as many combinations as there are trials, 2"),
    ({}, "", CHOOSE.replace("= 2", "= 1"), "trials must be a whole number of at least 2"),
    ({}, "", CHOOSE + "[choose.own.p_sgd]\nbatch_size = [8]", "own.p_sgd must make as many combinations"),
    ({}, "", CHOOSE + "[choose.own.rs2]\nbatch_size = [8, 9]", "own must name labels of sampler"),
    ({}, "", CHOOSE + "[choose.at]\naugment = 'mixup'", "at must have labels of the other axes"),
]  # fmt: skip


@pytest.mark.parametrize(("replaced", "before", "after", "said"), MISTAKES)
def test_mistakes_are_one_line(
    write: Write, tmp_path: Path, replaced: dict[str, str], before: str, after: str, said: str
) -> None:
    path = write(before, replaced, after)
    with pytest.raises(RunError) as error:
        final_cells(read_study(str(path)), place(tmp_path), {})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_study(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"the path of a \.toml or one of arazo_augmentation, .*headline_cpu, .*spirals;"
    ):
        read_study("nowhere")
    (tmp_path / "x.toml").write_text("= 3")
    with pytest.raises(RunError, match="must be TOML"):
        read_study(str(tmp_path / "x.toml"))


def test_trials_are_as_many_for_every_method(write: Write, tmp_path: Path) -> None:
    own = '[choose.own.p_sgd]\n"sampler.warmup_rounds" = [2, 3]\n'
    study = read_study(str(write(after=CHOOSE + own)))
    trials = trial_cells(study, place(tmp_path))
    assert {key: len(cells) for key, cells in trials.items()} == {"uniform": 2, "p_sgd": 2}
    assert [cell.name for cell in trials["p_sgd"]] == ["choose-p_sgd-1", "choose-p_sgd-2"]
    assert [cell.run.optimizer.lr for cell in trials["uniform"]] == [0.1, 0.2]
    assert all(cell.run.test_data == "validation" for cells in trials.values() for cell in cells)
    chosen = {"uniform": {"optimizer.lr": 0.2}, "p_sgd": {"sampler.warmup_rounds": 3}}
    cells = {cell.arm.name: cell for cell in final_cells(study, place(tmp_path), chosen)}  # type: ignore[arg-type]
    assert cells["ricap-uniform"].run.optimizer.lr == 0.2
    assert cells["ricap-p_sgd"].run.optimizer.lr == 0.1
    assert cells["ricap-p_sgd"].run.test_data is None


@pytest.mark.parametrize("name", studies())
def test_studies_that_come_along_can_be_read(name: str, tmp_path: Path) -> None:
    study = read_study(name)
    assert final_cells(study, place(tmp_path), {})
    assert read_study(f"{name}.toml").name == name


def test_the_headline_begins_with_a_first_answer(tmp_path: Path) -> None:
    cells = final_cells(read_study("headline_cpu"), place(tmp_path), {})
    assert len(cells) == 51
    assert [cell.arm.name for cell in cells[:4]] == [
        *("0.3-standard-uniform", "0.3-standard-p_sgd", "0.3-ricap-uniform", "0.3-ricap-p_sgd"),
    ]
    assert [cell.name for cell in cells[12:15]] == [f"1-standard-uniform-s{seed}" for seed in range(3)]
    assert {cell.run.counts for cell in cells} == {"compute"}
