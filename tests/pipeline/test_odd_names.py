"""Names of files that hold new lines or aren't UTF-8, and lists of what was left out."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipeline.conversion.convert import ConvertOptions, convert, skipped_path
from pipeline.errors import DataError, one_line
from pipeline.formats import card_path, open_dataset
from pipeline.sources import ArraySource, open_source
from tools.cli import main
from tools.convert import say_skipped

NAMES = ["p\nq", "tab\there", "caf\udce9", "back\\slash", "line\u2028end", "nel\x85x", "plain", "Ünï"]


def shard(path: Path, broken: bool) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate([*NAMES, "zero"]):
            file = io.BytesIO()
            Image.new("RGB", (8, 8), (number, 0, 0)).save(file, "PNG")
            content = b"broken" if broken and name != "zero" else file.getvalue()
            for ending, data in (("png", content), ("cls", b"0")):
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("ending", ["beton", "wds"])
def test_names_of_any_bytes_come_through(tmp_path: Path, ending: str) -> None:
    source = open_source(str(shard(tmp_path / "x.tar", broken=False)))
    convert(source, tmp_path / f"x.{ending}", ConvertOptions())
    data = open_dataset(tmp_path / f"x.{ending}")
    assert [data.name(index) for index in range(8)] == [f"x.tar/{name}.png" for name in NAMES]


def test_an_image_that_is_left_out_has_one_line(tmp_path: Path) -> None:
    source = open_source(str(shard(tmp_path / "x.tar", broken=True)))
    card = convert(source, tmp_path / "x.beton", ConvertOptions(skip_corrupt=True))
    assert card.skipped == len(NAMES)
    listed = skipped_path(tmp_path / "x.beton")
    assert listed.name == "x.beton.skipped.txt"
    lines = listed.read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        r"x.tar/p\nq.png",
        r"x.tar/tab\there.png",
        r"x.tar/caf\xe9.png",
        r"x.tar/back\\slash.png",
        r"x.tar/line\u2028end.png",
        r"x.tar/nel\x85x.png",
        "x.tar/plain.png",
        "x.tar/Ünï.png",
    ]
    assert all(line.count("\t") == 1 for line in lines)
    out = io.StringIO()
    console = Console(file=out, width=100)
    say_skipped(console, tmp_path / "x.beton")
    said = out.getvalue()
    assert "corrupt images left out: 8, listed in" in said
    assert said.count("left out: x.tar/") == 8


def test_two_sets_of_one_name_keep_their_own_lists(tmp_path: Path) -> None:
    source = open_source(str(shard(tmp_path / "x.tar", broken=True)))
    convert(source, tmp_path / "x.beton", ConvertOptions(skip_corrupt=True))
    before = skipped_path(tmp_path / "x.beton").read_bytes()
    sound = open_source(str(shard(tmp_path / "y.tar", broken=False)))
    convert(sound, tmp_path / "x.wds", ConvertOptions(skip_corrupt=True))
    assert skipped_path(tmp_path / "x.beton").read_bytes() == before
    assert not skipped_path(tmp_path / "x.wds").exists()


def test_messages_are_one_line_whatever_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shard(tmp_path / "a\nb.tar", broken=True)
    assert main(["convert", str(path), str(tmp_path / "x.beton")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert r"a\nb.tar/p\nq.png" in said


@pytest.mark.parametrize("name", ["caf\udce9", "two\nlines", "nul\0"])
def test_a_class_whose_name_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    source = ArraySource("x", "train", "x", ("a", name), np.zeros(2, np.int64), np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(
        DataError, match="names of classes must be UTF-8 without control characters; x has"
    ) as got:
        convert(source, tmp_path / "x.beton", ConvertOptions())
    str(got.value).encode()
    assert one_line(str(got.value)) == str(got.value)


def test_a_set_whose_name_is_no_utf8_has_a_card_that_is(tmp_path: Path) -> None:
    source = open_source(str(shard(tmp_path / "caf\udce9.tar", broken=False)))
    convert(source, tmp_path / "x.beton", ConvertOptions())
    text = card_path(tmp_path / "x.beton").read_text()
    assert "\\ud" not in text
    assert open_dataset(tmp_path / "x.beton").card.name == r"caf\xe9"
