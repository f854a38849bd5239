"""Data sets by ``--data``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import DataError
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from pipeline.sources.protocol import no_labels
from pipeline.targets import TargetKind, TargetSpec
from samplers import SamplingError, Scores
from trainer.build import build
from trainer.config import Run
from trainer.data import digest, open_data
from trainer.errors import RunError
from trainer.evaluators import EVALUATORS
from trainer.methods import METHODS, Supervised
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.settings.streams import Stream


def test_a_folder_that_is_no_set_is_refused_and_not_gone_through(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("music/x/1.png", "photos/1.png"):
        (home / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(home / name)
    # Going through it would find a class whose name is refused.
    (home / "\udcff").mkdir()
    for data, data_dir in ((str(home), None), ("home", tmp_path), (".", home)):
        with pytest.raises(
            RunError, match=r"home holds no train: convert it with `trainer convert "
        ) as caught:
            open_data(Run(data=data, data_dir=data_dir), World(), lambda *_: None)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in home.iterdir()) == ["music", "photos", "\udcff"]


def test_a_folder_with_splits_is_converted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            path = tmp_path / "pets" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    data = open_data(Run(data="pets", data_dir=tmp_path, batch_size=2), World(), lambda *_: None)
    assert data.train.card.classes == data.test.card.classes == ("cat", "dog")


def test_a_scores_file_knows_a_multiplied_set_by_what_is_multiplied(recipe: Callable[..., Run]) -> None:
    def told(**entries: Any) -> str | None:
        return digest(open_data(recipe(**entries), World(), lambda *_: None).train)

    some = {"multiply": 2, "multiply_classes": 0.2}
    found = [told(), told(multiply=2), told(multiply=3), told(**some, multiply_seed=1), told(**some)]
    assert found[0] == open_data(recipe(), World(), lambda *_: None).train.card.digest
    assert len(set(found)) == 5
    assert told(**some) == found[-1]


def test_scores_of_another_set_are_refused_unless_accepted(
    recipe: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "scores.npz"
    Scores(np.arange(1280, dtype=np.float32), "el2n", {"data_sha256": "of another"}).save(path)

    def prepare(**entries: Any) -> None:
        run = recipe(sampler={"name": "subset", "scores": str(path)}, **entries)
        data = open_data(run, World(), lambda *_: None)
        build(run, RunFolder(tmp_path, run), data, World(), torch.device("cpu")).close()

    with pytest.raises(SamplingError, match=r"of this training set, .*use it anyway with --accept"):
        prepare()
    prepare(accept_changed_data=True)


def converted(path: Path, kind: TargetKind, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    labels, classes = {
        "class": (rng.integers(0, 2, 40), ("a", "b")),
        "multi_label": (rng.integers(0, 2, (40, 3), np.uint8), ("x", "y", "z")),
        "value": (rng.random(40).astype(np.float32), ()),
        "none": (no_labels(40), ()),
    }[kind]
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    convert(
        ArraySource("noise", path.stem, "noise", classes, labels, images, kind=kind),
        path,
        ConvertOptions(overwrite=True),
    )
    return path


UNLABELED = [name for name, made in METHODS.items() if not made().targets]
"""Methods that learn from images alone."""


@pytest.mark.parametrize("kind", ["multi_label", "value", "none"])
@pytest.mark.parametrize(
    "method", [name for name, made in METHODS.items() if made().targets.get("label") == "class"]
)
def test_a_set_whose_targets_the_method_does_not_learn_is_refused(
    tmp_path: Path, kind: TargetKind, method: str
) -> None:
    train = converted(tmp_path / "train.beton", kind)
    converted(tmp_path / "test.beton", kind, seed=1)
    made = METHODS[method]()
    streams = tuple(Stream(name=name, data=str(train)) for name in made.streams)
    run = Run(data=str(train), method=made, streams=streams, batch_size=8)
    with pytest.raises(
        RunError, match=rf"method {method} learns targets of kind class, and those of .* kind {kind}"
    ) as caught:
        open_data(run, World(), lambda *_: None)
    assert "\n" not in str(caught.value)
    own = {"multi_label": ["multi_label"], "value": ["regression"]}
    *names, last = [*own.get(kind, []), *UNLABELED]
    remedy = f"take --method {', '.join(names)} or {last}"
    assert f"{remedy}, or convert the images with --targets class" in str(caught.value)


def test_methods_that_learn_a_sets_targets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, targets in (("regression", {"label": "value"}), ("pictures", {})):
        made = type(name, (Supervised,), {"targets": targets, "__module__": __name__})
        monkeypatch.setitem(METHODS, name, made)
    train = converted(tmp_path / "train.beton", "value")
    converted(tmp_path / "test.beton", "value", seed=1)
    run = Run(data=str(train), batch_size=8)
    with pytest.raises(
        RunError, match=r"take --method regression, .* or pictures, or convert the images with"
    ):
        open_data(run, World(), lambda *_: None)
    for name, evaluator in (("regression", "regression"), ("pictures", "knn")):
        changed = replace(run, method=METHODS[name](), evaluator=(EVALUATORS[evaluator](),))
        data = open_data(changed, World(), lambda *_: None)
        assert data.test.card.spec == TargetSpec("value")
    with pytest.raises(
        DataError, match="must have one class per image to be used so; its targets are of kind"
    ):
        open_data(
            replace(run, method=METHODS["regression"](), multiply=2, multiply_classes=0.5),
            World(),
            lambda *_: None,
        )
    converted(tmp_path / "test.beton", "none")
    with pytest.raises(RunError, match=r"must have targets of one kind; .* kind value and .* of kind none"):
        open_data(replace(run, method=METHODS["regression"]()), World(), lambda *_: None)


@pytest.mark.parametrize(
    ("kind", "ours", "theirs", "line"),
    [
        (
            "multi_label",
            ("x", "y"),
            ("y", "x"),
            "the same labels in the same order; .* 'x', 'y' and ",
        ),
        ("value", 1, 3, "as many values per image; .* has 1 value per image and .* 3 values per image"),
    ],
)
def test_a_test_set_with_targets_of_another_meaning_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: TargetKind, ours: Any, theirs: Any, line: str
) -> None:
    monkeypatch.setitem(METHODS, "other", type("Other", (Supervised,), {"targets": {"label": kind}}))
    for split, said in (("train", ours), ("test", theirs)):
        if kind == "multi_label":
            classes, labels = said, np.zeros((20, 2), np.uint8)
        else:
            classes, labels = (), np.zeros((20, said) if said > 1 else 20, np.float32)
        images = np.zeros((20, 8, 8, 3), np.uint8)
        source = ArraySource("x", split, "x", classes, labels, images, kind=kind)
        convert(source, tmp_path / f"{split}.beton", ConvertOptions())
    run = Run(data=str(tmp_path / "train.beton"), method=METHODS["other"](), batch_size=8)
    with pytest.raises(RunError, match=line):
        open_data(run, World(), lambda *_: None)
