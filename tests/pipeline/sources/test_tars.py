"""Tar shards as tools write them and disks leave them: whole to their marked end, or refused."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import open_dataset
from pipeline.sources import open_source


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def sample(number: int, label: bytes | None = None) -> dict[str, bytes]:
    return {f"{number:03}.jpg": picture(number), f"{number:03}.cls": label or b"%d" % (number % 3)}


def tar_of(members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


SAMPLES = {name: content for number in range(4) for name, content in sample(number).items()}


@pytest.mark.parametrize("opened", [True, False], ids=["training", "converting"])
def test_a_tar_cut_anywhere_is_refused_or_whole(tmp_path: Path, opened: bool) -> None:
    path = tmp_path / "set.wds" / "x.tar"
    path.parent.mkdir()
    whole = tar_of(SAMPLES)
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    read: list[int] = []
    refused: dict[int, str] = {}
    for size in {*range(0, len(whole) + 1, 512), *range(100, len(whole), 1_700), len(whole)}:
        path.write_bytes(whole[:size])
        try:
            count = len(open_dataset(path.parent)) if opened else len(open_source(str(path)))
        except DataError as error:
            refused[size] = str(error)
            continue
        assert count == 4
        read.append(size)
    # The mark of the end is at least one empty block.
    assert min(read) == end + 512
    assert max(refused) < end + 512
    assert not any("\n" in line for line in refused.values())


def test_what_ends_a_tar_may_be_short_or_long(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    bare = tar_of(SAMPLES).rstrip(b"\0")
    bare += bytes(-len(bare) % 512)
    path.write_bytes(bare)
    with pytest.raises(
        DataError, match=r"x\.tar must be a whole tar file; it is cut off after [\d,]+ bytes, wh"
    ):
        open_source(str(path))
    subprocess.run(["truncate", "-s", "+1024", str(path)], check=True)
    assert len(open_source(str(path))) == 4
    for blocks in (1, 2, 20, 2_048):
        path.write_bytes(bare + bytes(512 * blocks))
        assert len(open_source(str(path))) == 4
    path.write_bytes(bare + bytes(512 * 2_049))
    with pytest.raises(DataError, match="last 1,049,088 bytes are empty, as of a download that didn't end"):
        open_source(str(path))
    subprocess.run(["truncate", "-s", str(len(bare) + 1024), str(path)], check=True)
    assert len(open_source(str(path))) == 4
    path.write_bytes(bare + bytes(1_024) + b"garbage" * 200)
    with pytest.raises(DataError, match=r"x\.tar must be a whole tar file"):
        open_source(str(path))


def test_tars_put_after_one_another_are_read_to_the_last(tmp_path: Path) -> None:
    path = tmp_path / "set.wds" / "x.tar"
    path.parent.mkdir()
    path.write_bytes(b"".join(tar_of(sample(number)) for number in range(5)))
    source, data = open_source(str(path)), open_dataset(path.parent)
    assert len(source) == len(data) == 5
    for number in range(5):
        assert source.encoded(number) == data.encoded(number) == picture(number)
    path.write_bytes(path.read_bytes()[:-9_728])
    with pytest.raises(DataError, match="whole tar file"):
        open_source(str(path))


def test_holes_in_a_tar_are_no_end_of_another_before(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    whole = tar_of(SAMPLES)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        at = [member.offset for member in tar]
    for first, last in ((2, 4), (0, 2), (1, 7)):
        hole = bytes(at[last] - at[first])
        path.write_bytes(whole[: at[first]] + hole + whole[at[last] :])
        with pytest.raises(
            DataError, match=rf"it has a hole, as its bytes from {at[first]:,} to {at[last]:,} are empty"
        ):
            open_source(str(path))
    # Writers that end a tar by its mark alone.
    bare = whole.rstrip(b"\0")
    bare += bytes(-len(bare) % 512 + 1_024)
    path.write_bytes(bare + tar_of(sample(7)))
    assert len(open_source(str(path))) == 5


@pytest.mark.parametrize(
    ("kind", "size", "times"),
    [(tarfile.GNUTYPE_LONGNAME, 1 << 40, 1), (tarfile.XHDTYPE, 1 << 40, 1),
     (tarfile.GNUTYPE_LONGNAME, 0, 3_000), (tarfile.XHDTYPE, 0, 3_000)],
)  # fmt: skip
def test_headers_that_ask_for_too_much_are_one_line(
    tmp_path: Path, kind: bytes, size: int, times: int
) -> None:
    path = tmp_path / "x.tar"
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, size
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) * times + tar_of(SAMPLES))
    with pytest.raises(DataError, match=r"x\.tar must be a whole tar file, uncompressed; reading it gave: "):
        open_source(str(path))


def test_a_header_that_is_damaged_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    content = bytearray(tar_of(SAMPLES))
    place = content.index(b"002.jpg")
    content[place + 150] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"it is damaged after {place:,} bytes"):
        open_source(str(path))


@pytest.mark.parametrize("cut", [False, True])
def test_a_packed_tar_is_named_as_such(tmp_path: Path, cut: bool) -> None:
    content = gzip.compress(tar_of(SAMPLES))
    path = tmp_path / "x.tar"
    path.write_bytes(content[: len(content) // 2] if cut else content)
    with pytest.raises(
        DataError, match="uncompressed; reading it gave: it is compressed by gzip; unpack it first"
    ):
        open_source(str(path))


def test_links_and_sparse_files_are_not_left_out_silently(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(0))
    (tmp_path / "a.cls").write_bytes(b"0")
    for ending in ("jpg", "cls"):
        (tmp_path / f"b.{ending}").hardlink_to(tmp_path / f"a.{ending}")
    (tmp_path / "notes.link").symlink_to("a.jpg")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.cls", "a.jpg", "b.cls", "b.jpg"):
            tar.add(tmp_path / name, name)
    with pytest.raises(
        DataError, match=r"must hold files themselves; b\.cls is a link to a\.cls: pack it again"
    ):
        open_source(str(tmp_path / "x.tar"))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.cls", "a.jpg", "notes.link"):
            tar.add(tmp_path / name, name)
    assert len(open_source(str(tmp_path / "x.tar"))) == 1


def test_a_label_of_a_terabyte_is_refused_by_its_header(tmp_path: Path) -> None:
    def header(name: str, size: int) -> bytes:
        entry = tarfile.TarInfo(name)
        entry.size = size
        return entry.tobuf(tarfile.GNU_FORMAT)

    for name, message in (
        ("a.cls", "labels of .* must have at most 16,777,216 bytes; a.cls has 1,099,511,"),
        ("a.jpg", ""),
    ):
        path = tmp_path / "x.tar"
        with path.open("wb") as file:
            # A hole on the disk, which takes no room.
            file.write(header(name, 1 << 40))
            file.truncate(512 + (1 << 40))
            file.seek(0, io.SEEK_END)
            file.write(tar_of({"a.cls": b"0"}))
        if message:
            with pytest.raises(DataError, match=message):
                open_source(str(path))
        else:
            with pytest.raises(
                CorruptSampleError, match=r"at most 2,147,483,648 bytes; this one has 1,099,511,627"
            ):
                open_source(str(path)).read(0)
    sparse = tarfile.TarInfo("a.cls")
    sparse.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    block[386:398] = block[398:410] = b"%011o\0" % 0
    block[483:495] = b"%011o\0" % (1 << 32)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:512]))
    path.write_bytes(bytes(block) + bytes(1_024))
    with pytest.raises(DataError, match=r"a\.cls is a sparse file of 4,294,967,296 bytes"):
        open_source(str(path))


def test_json_nested_without_end_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({"a.jpg": picture(0), "a.json": b"[" * 100_000}))
    with pytest.raises(DataError, match=r"a\.json of .* is nested too deeply: write it again"):
        open_source(str(path))


def test_labels_of_shards_are_of_one_type(tmp_path: Path) -> None:
    def write(**labels: list[bytes]) -> str:
        for path in tmp_path.glob("*.tar"):
            path.unlink()
        for name, found in labels.items():
            members = [sample(number, label) for number, label in enumerate(found)]
            content = tar_of({name: content for one in members for name, content in one.items()})
            (tmp_path / f"{name.replace('_', '-')}.tar").write_bytes(content)
        return str(tmp_path)

    with pytest.raises(DataError, match=r"got whole numbers in train-0\.tar and texts in train-1\.tar"):
        open_source(write(train_0=[b"0", b"1"], train_1=[b"cat", b"dog"]))
    with pytest.raises(DataError, match=r"got whole numbers in train-0\.tar and texts in test-0\.tar"):
        open_source(write(train_0=[b"0", b"1"], test_0=[b"cat", b"dog"]))
    # Characters as classes: a shard that holds both kinds says that they are texts.
    source = open_source(write(train_0=[b"7", b"8"], train_1=[b"a", b"7"], train_2=[b"b"]))
    assert source.classes == ("7", "8", "a", "b")
    assert "all are taken as texts, 3 numbers as well" in source.notes[0]
    source = open_source(write(train_0=[b"\xef\xbb\xbf1\r\n", b" 0 "]))
    assert source.labels.tolist() == [1, 0]


def test_two_files_of_one_name_are_refused_and_further_images_told(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.jpg", "a.cls", "a.jpg"):
            content = b"0" if name == "a.cls" else picture(0)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(DataError, match=r"there are two a\.jpg"):
        open_source(str(path))
    path.write_bytes(tar_of({"a.jpg": picture(0), "a.cls": b"0", "a.png": b"a mask"}))
    assert open_source(str(path)).notes == ("1 further images of samples that have one already are left out",)
