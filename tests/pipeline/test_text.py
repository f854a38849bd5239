"""Text files as other programs save them: byte order marks, UTF-16, other ends of lines."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import open_source
from pipeline.text import parsed, read_json, read_text
from tools.reporting.folder import read_run
from trainer.recipe import load
from trainer.run_folder import RunFolder

ENCODINGS = pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
ENDS = pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)


@ENCODINGS
@ENDS
def test_text_is_read_in_each_of_its_encodings(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "x").write_bytes(f"ä,b{end}c{end}".encode(encoding))
    assert read_text(tmp_path / "x") == "ä,b\nc\n"
    (tmp_path / "x").write_bytes("ä".encode("latin-1"))
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "x")


def test_what_would_be_waited_for_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="it is no regular file"):
        read_text(tmp_path / "x")
    with pytest.raises(IsADirectoryError):
        read_text(tmp_path)


@ENCODINGS
@ENDS
def test_lists_of_mini_imagenet_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    for part in ("train", "val", "test"):
        text = end.join(["filename,label", *(f"{part}{number}.jpg,n{part}" for number in range(4)), ""])
        path = tmp_path / "mini_imagenet" / f"{part}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode(encoding))
        for number in range(4):
            save(tmp_path / "mini_imagenet" / "images" / f"{part}{number}.jpg")
    source = open_source("mini_imagenet", data_dir=tmp_path)
    assert source.classes == ("ntest", "ntrain", "nval")
    assert len(source) == 10


@ENCODINGS
@ENDS
def test_lists_of_food101_and_places365_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.replace("\n", end).encode(encoding))

    write("food101/food-101/meta/train.json", json.dumps({"pie": ["pie/1"], "soup": ["soup/1"]}, indent=1))
    for dish in ("pie", "soup"):
        save(tmp_path / f"food101/food-101/images/{dish}/1.jpg")
    source = open_source("food101", data_dir=tmp_path)
    assert (source.classes, source.sample_name(1)) == (("pie", "soup"), "soup/1.jpg")
    write("categories_places365.txt", "/a/abbey 0\n/b/bakery 1\n")
    write("places365_val.txt", "1.jpg 1\n2.jpg 0\n")
    for number in (1, 2):
        save(tmp_path / f"val_256/{number}.jpg")
    source = open_source("places365", split="val", data_dir=tmp_path)
    assert (source.classes, source.labels.tolist()) == (("abbey", "bakery"), [1, 0])


@ENCODINGS
@ENDS
def test_a_recipe_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "mine.toml").write_bytes(f'data = "cifar10"{end}epochs = 3{end}'.encode(encoding))
    assert load(str(tmp_path / "mine.toml")).epochs == 3


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": Infinity}', "[-Infinity]", '{"a": 1, "a": 2}', "[" * 100_000, "", "{", "1" * 5_000]
)
def test_json_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_json(text)
    assert not isinstance(caught.value, DataError)
    assert read_json('{"a": [1, null, 0.5]}') == {"a": [1, None, 0.5]}


@pytest.mark.parametrize("text", [f"a = {'[' * 100_000}", f"a = {'{a=' * 100_000}", f"a = {'1' * 5_000}"])
def test_toml_that_is_none_is_a_fault_of_the_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(tomllib.loads, text)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_run_folder_whose_files_were_saved_anew_is_read(tmp_path: Path, encoding: str) -> None:
    run = replace(load("fashion_mnist_cpu"), runs_dir=tmp_path)
    folder = RunFolder(tmp_path / "x", run)
    folder.path.mkdir()
    folder.begin()
    folder.write_json("ledger.json", {"finished": True})
    folder.append("steps.jsonl", {"step": 1, "round": 0})
    for name in ("run.toml", "ledger.json", "steps.jsonl"):
        path = folder.path / name
        path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    again = RunFolder(folder.path, run)
    assert again.finished
    assert again.read("steps.jsonl") == [{"step": 1, "round": 0}]
    record = read_run(folder.path)
    assert record.ledger["finished"] is True
    assert record.steps.columns["step"].tolist() == [1]
