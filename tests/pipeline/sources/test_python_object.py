"""Python objects that don't keep their word: about labels, lengths and items."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources.python_object import ObjectSource, open_object

SIZE = 40


class Pairs:
    """Items whose labels are 0 or 1, with attributes as a test sets them."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> Any:
        return np.full((8, 8, 3), index, np.uint8), self.label(index)

    def label(self, index: int) -> Any:
        return int(index % 10 > 4)


def opened(data: Any) -> ObjectSource:
    return ObjectSource(data, "x", "train")


def test_labels_are_those_of_the_items_where_the_attribute_differs() -> None:
    source = opened(Pairs(targets=[index % 10 for index in range(SIZE)]))
    assert source.labels.tolist() == [int(index % 10 > 4) for index in range(SIZE)]
    assert source.classes == ("0", "1")
    assert "targets or labels of x isn't what its items hold" in source.notes[0]


def test_a_label_that_differs_later_on_is_refused_when_it_is_met() -> None:
    targets = [int(index % 10 > 4) for index in range(SIZE)]
    targets[1] = 1
    source = opened(Pairs(targets=targets))
    source.read(0)
    with pytest.raises(
        DataError, match=r"an item must keep its label; x\[1\] holds 0, and its label was '1'"
    ):
        source.read(1)

    class Drawn(Pairs):
        calls = 0

        def label(self, index: int) -> Any:
            self.calls += 1
            return int(self.calls > SIZE)

    with pytest.raises(DataError, match="what makes its items differ from one time to the next"):
        opened(Drawn()).read(0)


@pytest.mark.parametrize("kind", ["tensor", "float", "text", "name", "row", "tensor row", "bool"])
def test_a_label_may_be_written_in_another_way_than_the_attribute(kind: str) -> None:
    class Other(Pairs):
        def label(self, index: int) -> Any:
            label = super().label(index)
            row = [1 - label, label]
            return {
                "tensor": torch.tensor(label),
                "float": float(label),
                "text": str(label),
                "name": ("ant ", "bee")[label],
                "row": row,
                "tensor row": torch.tensor(row),
                "bool": bool(label),
            }[kind]

    classes = {"classes": ["ant", "bee"]} if kind != "text" else {"classes": ["0", "1"]}
    source = opened(Other(targets=[int(index % 10 > 4) for index in range(SIZE)], **classes))
    assert source.notes == ()
    for index in range(SIZE):
        assert source.read(index)[0, 0, 0] == index


def test_items_that_fail_are_met_in_their_turn() -> None:
    class Failing(Pairs):
        def __getitem__(self, index: int) -> Any:
            if index in (0, 7):
                raise OSError("gone")
            return super().__getitem__(index)

    for data in (Failing(), Failing(labels=[int(index % 10 > 4) for index in range(SIZE)])):
        source = opened(data)
        assert len(source) == SIZE
        assert source.labels[1:7].tolist() == [0, 0, 0, 0, 1, 1]
        for index in (0, 7):
            with pytest.raises(CorruptSampleError, match=rf"x\[{index}\] must be an image; .* gone"):
                source.read(index)
        source.read(8)
        source.fingerprint()


def test_lengths_and_attributes_that_fail_are_one_line() -> None:
    class NoLength(Pairs):
        def __len__(self) -> int:
            raise RuntimeError("not\nyet")

    class NoTargets(Pairs):
        @property
        def targets(self) -> Any:
            raise RuntimeError("not yet")

    class Negative(Pairs):
        def __len__(self) -> int:
            return -1

    for data in (NoLength(), NoTargets(), Negative()):
        with pytest.raises(DataError, match="x must tell its length") as caught:
            opened(data)
        assert "\n" not in str(caught.value)


def test_a_length_that_is_too_large_is_named_at_the_first_item_that_is_not_there() -> None:
    class Short(Pairs):
        def __getitem__(self, index: int) -> Any:
            return [super(Short, self).__getitem__(one) for one in range(SIZE - 3)][index]

    source = opened(Short())
    source.read(SIZE - 4)
    with pytest.raises(CorruptSampleError, match=rf"x\[{SIZE - 3}\] must be an image; .* out of range"):
        source.read(SIZE - 3)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("fault", [MemoryError(), OSError(errno.EMFILE, os.strerror(errno.EMFILE))])
def test_want_of_memory_or_of_files_is_no_items_fault(fault: Exception, labelled: bool) -> None:
    class Failing(Pairs):
        def __getitem__(self, index: int) -> Any:
            if index == 7:
                raise fault
            return super().__getitem__(index)

    labels = {"labels": [int(index % 10 > 4) for index in range(SIZE)]} if labelled else {}
    with pytest.raises(DataError, match=r"x\[7\] must (fit into memory|be readable; got Too many)") as caught:
        opened(Failing(**labels)).read(7)
    assert not isinstance(caught.value, CorruptSampleError)


def test_code_that_ends_the_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending(Pairs):
        def __getitem__(self, index: int) -> Any:
            if index == 7:
                raise SystemExit(0)
            return super().__getitem__(index)

    with pytest.raises(CorruptSampleError, match=r"x\[7\] must be an image; reading it gave: 0"):
        opened(Ending(labels=[int(index % 10 > 4) for index in range(SIZE)])).read(7)
    (tmp_path / "script_that_ends.py").write_text("import sys\nsys.exit()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(DataError, match=r"a source MODULE:NAME must be found .* gave: SystemExit"):
        open_object("script_that_ends:data", "train")
