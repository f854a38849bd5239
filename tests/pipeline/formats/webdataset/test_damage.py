"""WebDataset folders that are broken in every way: named, with what helps."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from drawn_sets import noise
from webdataset_folders import decode, flip, jpeg

from pipeline.errors import CorruptSampleError, DataError, MachineError
from pipeline.formats import open_dataset
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.verify import verify
from pipeline.formats.webdataset import WebDataset


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be a folder of tar shards; make one with `trainer convert"):
        open_dataset(tmp_path / "none.wds")
    with pytest.raises(DataError, match=r"must end in \.beton or \.wds"):
        open_dataset(tmp_path / "none.tar")


def test_a_shard_that_is_missing_cut_or_swapped_is_named(mixed: Path) -> None:
    first, second = sorted(mixed.glob("*.tar"))[:2]
    whole = first.read_bytes()
    for size in (0, 511, 512, len(whole) // 2, len(whole) - 1):
        first.write_bytes(whole[:size])
        with pytest.raises(DataError, match=rf"mixed-000000.tar must have {len(whole):,} bytes"):
            WebDataset(mixed)
    first.unlink()
    with pytest.raises(DataError, match=r"mixed-000000.tar must be there"):
        WebDataset(mixed)
    first.write_bytes(second.read_bytes().ljust(len(whole), b"\0")[: len(whole)])
    with pytest.raises(DataError, match=r"mixed-000000.tar must hold sample 0 where the table says"):
        WebDataset(mixed)


def test_a_shard_that_is_cut_is_noticed_without_a_table_too(mixed: Path) -> None:
    (mixed / layout.TABLE).unlink()
    shard = mixed / "mixed-000000.tar"
    whole = shard.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for size in [*range(0, end, 509), end, end + 200]:
        shard.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"mixed-000000\.(tar|idx) must"):
            WebDataset(mixed)
    shard.write_bytes(whole)
    with tarfile.open(shard) as archive:
        headers = [entry.offset for entry in archive]
    assert len(headers) == 4
    for header in headers:
        shard.write_bytes(whole)
        flip(shard, header + 5)
        with pytest.raises(DataError, match=r"mixed-000000\.tar must be a whole tar file"):
            WebDataset(mixed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("v1.2 ", "v1.2 1", 1),
        lambda text: text.replace(" 512 ", " 1024 ", 1),
        lambda text: "\n".join(text.splitlines()[:-1]) + "\n",
        lambda text: "",
        lambda text: "v9 3\n",
    ],
    ids=["count", "offset", "a line less", "empty", "version"],
)
def test_an_index_out_of_step_with_its_shard_is_named(mixed: Path, damage: Callable[[str], str]) -> None:
    index = mixed / "mixed-000000.idx"
    text = index.read_text()
    assert damage(text) != text
    index.write_text(damage(text))
    assert verify(mixed).unaltered is False
    (mixed / layout.TABLE).unlink()
    with pytest.raises(
        DataError, match=r"mixed-000000.idx must say where .*: make it again with DALI's wds2idx"
    ):
        WebDataset(mixed)


def test_a_damaged_table_is_refused(mixed: Path) -> None:
    table = mixed / layout.TABLE
    whole = table.read_bytes()
    rng, sound = np.random.default_rng(0), 0
    for offset in rng.integers(0, len(whole), 150):
        table.write_bytes(whole)
        flip(table, int(offset))
        with contextlib.suppress(DataError):
            data = WebDataset(mixed)
            # A date or an attribute in the archive's headers: nothing that is used.
            assert [data.name(i) for i in (0, 11)] == ["even/000.img", "odd/011.img"]
            assert (data.image(4) == decode(jpeg(noise(4, 24, 27)))).all()
            sound += 1
    assert sound < 75
    for size in rng.integers(0, len(whole), 20):
        table.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"samples.npz must be a table .* remove it to have it gathered"):
            WebDataset(mixed)


def test_a_table_of_a_newer_schema_is_refused(mixed: Path) -> None:
    with np.load(mixed / layout.TABLE) as table:
        arrays = dict(table)
    arrays["schema"] = np.array(3)
    np.savez(mixed / layout.TABLE, **arrays)
    with pytest.raises(DataError, match="must be of schema 2 or older; got 3: install a newer budgetrain"):
        WebDataset(mixed)


def test_places_outside_of_a_shard_name_their_sample(mixed: Path) -> None:
    with np.load(mixed / layout.TABLE) as table:
        arrays = dict(table)
    for column, value in (
        ("offsets", 1 << 40),
        ("offsets", -1),
        ("sizes", 1 << 40),
        ("shard", 99),
        ("labels", 2),
    ):
        changed = {name: array.copy() for name, array in arrays.items()}
        changed[column].reshape(-1, 12)[0, 5] = value
        np.savez(mixed / layout.TABLE, **changed)
        with pytest.raises(DataError, match=r"sample 5"):
            WebDataset(mixed)


def test_a_changed_byte_names_its_sample(mixed: Path) -> None:
    data = WebDataset(mixed)
    for index in (0, 1):
        path = mixed / f"mixed-{data.shard[index]:06}.tar"
        flip(path, int(data.offsets[index] + data.sizes[index] // 2))
        with pytest.raises(CorruptSampleError, match=rf"mixed\.wds: sample {index} \(.*\) holds other bytes"):
            WebDataset(mixed).image(index)
    verdict = verify(mixed)
    assert sorted(verdict.broken) == [0, 1]
    assert verdict.unaltered is False


def test_more_shards_than_a_process_may_open_are_told_with_the_remedy(
    mixed: Path, no_more_files: Callable[[], AbstractContextManager[None]]
) -> None:
    WebDataset(mixed)
    told = r"must be readable; got Too many open files: let .* `ulimit -n 65536`"
    with no_more_files(), pytest.raises(MachineError, match=told):
        WebDataset(mixed)
    WebDataset(mixed)


def test_a_card_of_another_set_is_refused(mixed: Path) -> None:
    entries = json.loads((mixed / "card.json").read_text())
    entries["samples"], entries["class_counts"] = 13, [7, 6]
    (mixed / "card.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match="must describe its 12 samples; it describes 13: delete the card"):
        WebDataset(mixed)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mixed-000000.idx", "an index of its shard"),
        ("samples.npz", "a table of samples"),
        ("card.json", "a card"),
        ("mixed-000000.tar", "a tar file"),
    ],
)
def test_a_folder_in_place_of_a_file_is_one_line_that_names_it_once(
    mixed: Path, name: str, wanted: str
) -> None:
    if name != "samples.npz":
        (mixed / "samples.npz").unlink()
    (mixed / name).unlink()
    (mixed / name).mkdir()
    with pytest.raises(DataError) as caught:
        WebDataset(mixed)
    said = str(caught.value)
    assert said.startswith(
        f"{mixed / name} must be {wanted} that can be read; it can't be (Is a directory): "
    )
    assert said.count(name) == 1
    assert "\n" not in said


def test_a_shard_that_can_not_be_reached_is_not_said_to_be_missing(mixed: Path) -> None:
    shard = mixed / "mixed-000000.tar"
    shard.unlink()
    with pytest.raises(DataError, match=r"000000\.tar must be there, a shard of its folder; it is missing"):
        WebDataset(mixed)
    shard.symlink_to(shard.name)
    with pytest.raises(
        DataError, match=r"000000\.tar must be a shard .* \(Too many levels of symbolic links"
    ):
        WebDataset(mixed)
