"""Easiest and hardest images: found in the data set of the run, and only there."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import open_dataset
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource
from pipeline.sources.protocol import no_labels

OURS = {"data": "fashion_mnist", "sampler": {"name": "sample_importance", "epochs": 1.0}}


@pytest.fixture
def data(fashion: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fashion, tmp_path / "data")) / "fashion_mnist" / "train.beton"


def shown(source: str) -> list[tuple[str, np.ndarray]]:
    """Text and pixels of each picture on a page, in order."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)"', source)
    return [(alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))) for code, alt in found]


def test_the_easiest_and_the_hardest_image_of_each_class_are_shown(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]], data: Path
) -> None:
    opened = open_dataset(data)
    labels, n = opened.labels, len(opened)
    runs, expected = [], []
    for seed in range(2):
        w = np.random.default_rng(seed).random(n)
        columns = {"label": labels}
        recipe = {**OURS, "data_dir": str(data.parent.parent), "seed": seed}
        runs.append(make_run(f"r{seed}", recipe, [0.5], w, columns=columns))
        expected.append(w)
    made = shown(page(*runs)[0])
    ids = []
    for pick in (min, max):
        for w in expected:
            for label in range(10):
                ids.append((w, pick(np.flatnonzero(labels == label), key=lambda index: w[index])))
    assert len(made) == len(ids) == 40
    for (alt, pixels), (w, index) in zip(made, ids, strict=True):
        np.testing.assert_array_equal(pixels, opened.image(int(index)))
        assert alt.endswith(f"{opened.name(int(index))}, weight {w[index]:.3f}")


def test_copies_show_their_image(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]], data: Path
) -> None:
    opened = open_dataset(data)
    image = np.tile(np.arange(len(opened)), 2)
    copy = np.repeat([0, 1], len(opened))
    w = np.linspace(0.1, 1, len(image))
    columns = {"label": opened.labels[image], "image": image, "copy": copy}
    recipe = {**OURS, "data_dir": str(data.parent.parent), "multiply": 2}
    made = shown(page(make_run("m", recipe, [0.5], w, columns=columns))[0])
    assert len(made) == 20
    for alt, _ in made[:10]:
        assert ", copy 1, weight" in alt
    for label, (alt, pixels) in enumerate(made[10:]):
        last = np.flatnonzero(opened.labels == label)[-1]
        np.testing.assert_array_equal(pixels, opened.image(int(last)))
        assert f"{opened.name(int(last))}, copy 2, weight" in alt


FAULTS = ["gone", "converted again", "cut", "other samples", "old recipe", "no classes"]


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_data_set_a_note_says_why(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]], data: Path, fault: str
) -> None:
    opened = open_dataset(data)
    labels = opened.labels.copy()
    recipe = {**OURS, "data_dir": str(data.parent.parent)}
    if fault == "other samples":
        labels[0] = (labels[0] + 1) % 10
    if fault == "old recipe":
        recipe["an_option_of_another_version"] = 1  # type: ignore[assignment]
    run = make_run("r", recipe, [0.5], np.linspace(0.1, 1, len(opened)), columns={"label": labels})
    if fault == "no classes":
        images = np.stack([opened.image(index) for index in range(len(opened))])
        source = ArraySource("x", "train", "x", (), no_labels(len(opened)), images, kind="none")
        convert(source, data, ConvertOptions(overwrite=True))
        opened = open_dataset(data)
    digest = "0" * 64 if fault == "converted again" else opened.card.digest
    (run / "environment.json").write_text(json.dumps({"schema": 1, "data_sha256": {"train": digest}}))
    if fault == "gone":
        data.unlink()
    if fault == "cut":
        data.write_bytes(data.read_bytes()[:-5000])
    text, rows = page(run)
    assert shown(text) == []
    notes = [row for row in rows if row.startswith("No pictures of")]
    assert len(notes) == 1
    reason = {
        "gone": f"its data set is not at {data}",
        "converted again": f"{data} has changed since the run was trained",
        "cut": str(data),
        "other samples": f"{data} holds other samples than the run was trained on",
        "no classes": f"{data} must have one class per image",
        "old recipe": "got 'an_option_of_another_version'",
    }[fault]
    assert reason in notes[0]


def test_large_images_are_brought_down_and_many_runs_left_out(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]], data: Path
) -> None:
    opened = open_dataset(data)
    recipe = {**OURS, "data_dir": str(data.parent.parent)}
    w = np.linspace(0.1, 1, len(opened))
    runs = [
        make_run(f"r{i}", {**recipe, "seed": i}, [0.5], w, columns={"label": opened.labels})
        for i in range(10)
    ]
    source, rows = page(*runs)
    assert len(shown(source)) == 2 * 8 * 10
    assert "2 further runs have no row here." in rows
