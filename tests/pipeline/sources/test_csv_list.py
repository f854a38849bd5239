"""CSVs that list images: columns by their names, splits, separators, and rows at fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import open_source
from pipeline.sources.renumbered import Renumbered
from pipeline.targets import TargetKind


def listed(folder: Path, text: str, name: str = "list.csv") -> str:
    for number in range(3):
        Image.new("RGB", (4 + number, 5)).save(folder / f"{number}.png")
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("kind", "text", "targets", "classes"),
    [
        ("class", "image,label\n0.png,cat\n1.png,dog\n2.png,cat\n", [0, 1, 0], ("cat", "dog")),
        ("class", "species;File_Name\ncat;0.png\n;1.png\n", "label is missing|must", ()),
        (
            "multi_label",
            'path,labels\n0.png,"sky, sea"\n1.png,\n2.png,sea\n',
            [[1, 1], [0, 0], [1, 0]],
            ("sea", "sky"),
        ),
        ("multi_label", "path,tags\n0.png,a b;c\n1.png,c\n", [[1, 1], [0, 1]], ("a b", "c")),
        ("multi_label", "file,red,blue\n0.png,1,0\n1.png,1,1\n", [[1, 0], [1, 1]], ("red", "blue")),
        ("value", "image,age\n0.png,3.5\n1.png,-1\n", [3.5, -1], ()),
        ("value", "image,x,y,note\n0.png,1,2,a\n1.png,3,4,b\n", [[1, 2], [3, 4]], ()),
        ("none", "image,whatever\n0.png,x\n", np.zeros((1, 0)), ()),
    ],
)
def test_targets_of_every_kind_are_read(
    tmp_path: Path, kind: TargetKind, text: str, targets: object, classes: tuple[str, ...]
) -> None:
    if isinstance(targets, str):
        with pytest.raises(DataError, match=targets):
            open_source(listed(tmp_path, text), targets=kind)
        return
    source = open_source(listed(tmp_path, text), targets=kind)
    np.testing.assert_array_equal(source.labels, targets)
    assert source.classes == classes
    assert source.read(0).shape == (5, 4, 3)
    assert source.sample_name(0) == "0.png"


def test_a_column_of_splits_is_cut_by_and_all_splits_number_alike(tmp_path: Path) -> None:
    text = "image,label,split\n0.png,cat,train\n1.png,ant,Valid\n2.png,dog,train\n"
    path = listed(tmp_path, text)
    train, val = open_source(path), open_source(path, split="val")
    assert train.classes == val.classes == ("ant", "cat", "dog")
    assert (train.labels.tolist(), val.labels.tolist()) == ([1, 2], [0])
    assert (train.split, val.split) == ("train", "val")
    with pytest.raises(DataError, match=r"must have rows of the split test; its column split has train, val"):
        open_source(path, split="test")


def test_labels_of_another_set_are_numbered_as_it_does_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    source = open_source(listed(tmp_path, "image,labels\n0.png,b;c\n1.png,\n"), targets="multi_label")
    np.testing.assert_array_equal(Renumbered(source, ("a", "c", "b"), "x").labels, [[0, 1, 1], [0, 0, 0]])
    with pytest.raises(DataError, match="must be among those of x; 1 aren't: 'c'"):
        Renumbered(source, ("a", "b"), "x")


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("class", "", "it is empty"),
        ("class", "picture,label\n0.png,a\n", r"a column of image paths .* columns are picture, label"),
        ("class", "image,a,b\n0.png,x,y\n", r"a column called one of label, .* besides images it has a, b"),
        ("class", "image,label,label\n0.png,x,y\n", "two are called 'label'"),
        ("class", "image,label\n0.png,x,y\n", "row 1 has 3 of 2: put cells"),
        ("value", "image,value\n0.png,1\n1.png,tall\n", "1.png has 'tall' in the column value"),
        ("value", "image,value\n0.png,nan\n", "0.png has"),
        ("multi_label", "image,labels\n0.png,a\n0.png,b\n", "0.png stands in several: put its labels into"),
        (
            "class",
            'image,label\n0.png,"a\n',
            "must be a CSV; got unexpected end of data, .*: mend its quotes",
        ),
    ],
)
def test_a_file_at_fault_is_one_line(tmp_path: Path, kind: TargetKind, text: str, line: str) -> None:
    with pytest.raises(DataError, match=line) as told:
        open_source(listed(tmp_path, text), targets=kind)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["list.csv", "LIST.CSV"])
def test_every_program_s_csv_is_read(tmp_path: Path, separator: str, encoding: str, name: str) -> None:
    path = Path(listed(tmp_path, "", name))
    rows = ("image", "label"), ("0.png", "caf\u00e9"), ("1.png", "dog")
    path.write_bytes("\r\n".join(map(separator.join, rows)).encode(encoding))
    assert open_source(str(path)).classes == ("caf\u00e9", "dog")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-32"])
def test_another_encoding_is_refused_with_the_command_that_mends_it(tmp_path: Path, encoding: str) -> None:
    path = Path(listed(tmp_path, ""))
    path.write_bytes("image,label\n0.png,caf\u00e9\n".encode(encoding))
    with pytest.raises(DataError, match=r"must be in UTF-8, or .*: save it so, as by iconv -f WINDOWS-1252"):
        open_source(str(path))


def test_an_image_in_several_rows_is_noted(tmp_path: Path) -> None:
    text = "image,label\n0.png,a\n1.png,b\n2.png,a\n0.png,b\n1.png,b\n"
    source = open_source(listed(tmp_path, text))
    (note,) = source.notes
    assert note == (
        "2 images stand in several rows, and are taken as often, 1 of them with different targets (0.png)"
    )
    values = open_source(listed(tmp_path, "image,value\n0.png,1\n0.png,1\n"), targets="value")
    assert values.notes == ("1 images stand in several rows, and are taken as often",)
