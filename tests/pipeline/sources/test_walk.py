"""Other files among images: links, pipes, other programs' files, odd names, files without permission."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert, skipped_path
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import open_dataset
from pipeline.sources import ImageFolder


def save(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        save(tmp_path / "pets" / name, number)
    return tmp_path / "pets"


def names(source: ImageFolder) -> list[str]:
    return [source.sample_name(index) for index in range(len(source))]


SOUND = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../cat", "../../pets/cat/."])
def test_a_link_to_a_folder_that_it_lies_in_is_left_out(pets: Path, target: str) -> None:
    (pets / "cat" / "all").symlink_to(target)
    source = ImageFolder(pets)
    assert names(source) == SOUND
    assert source.notes == ("1 links to folders that they lie in are left out (cat/all)",)


def test_links_among_linked_folders_end(pets: Path, tmp_path: Path) -> None:
    save(tmp_path / "pool" / "owl" / "1.png")
    save(tmp_path / "pool" / "eel" / "1.png")
    (tmp_path / "pool" / "owl" / "up").symlink_to("..")
    (pets / "owl").symlink_to(tmp_path / "pool" / "owl")
    source = ImageFolder(pets)
    assert names(source) == [*SOUND, "owl/1.png"]
    assert source.notes == ("1 links to folders that they lie in are left out (owl/up)",)


def test_a_folder_linked_twice_counts_once_per_class(pets: Path, tmp_path: Path) -> None:
    save(tmp_path / "pool" / "9.png")
    for name in ("cat/more", "cat/again", "dog/more"):
        (pets / name).symlink_to(tmp_path / "pool")
    source = ImageFolder(pets)
    assert names(source) == ["cat/1.png", "cat/2.png", "cat/again/9.png", *SOUND[2:], "dog/more/9.png"]
    assert source.notes == (
        "1 links to folders that their class holds already are left out (cat/more)",
        "1 folders are linked into several classes or splits, and stay in each (dog/more)",
    )


def test_links_that_lead_nowhere_are_named(pets: Path) -> None:
    (pets / "cat" / "loop").symlink_to("loop")
    (pets / "cat" / "gone").symlink_to("/nowhere")
    (pets / "eel").symlink_to("eel")
    for number in range(60):
        (pets / "dog" / f"chain{number}").symlink_to(f"chain{number + 1}")
    (pets / "dog" / "chain60").symlink_to("1.png")
    source = ImageFolder(pets)
    assert names(source) == SOUND
    broken = next(note for note in source.notes if "lead nowhere" in note)
    words = "24 links that lead nowhere are left out"
    assert broken == f"{words} (cat/gone, cat/loop, dog/chain0, dog/chain1, dog/chain10 and 19 more)"
    (pets / "cat" / "0.png").symlink_to("0.png")
    with pytest.raises(
        CorruptSampleError, match=r"cat/0\.png must be readable; got Too many levels of symbolic"
    ):
        ImageFolder(pets).read(0)


def test_only_regular_files_are_images(pets: Path) -> None:
    os.mkfifo(pets / "cat" / "3.png")
    (pets / "cat" / "4.png").symlink_to("/dev/zero")
    save(pets / "cat" / "5.png" / "inner.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(pets / "dog" / "3.png"))
    source = ImageFolder(pets)
    assert names(source) == ["cat/1.png", "cat/2.png", "cat/5.png/inner.png", *SOUND[2:]]
    assert source.notes == ("3 pipes, sockets or devices are left out (cat/3.png, cat/4.png, dog/3.png)",)


def test_a_file_that_becomes_a_pipe_or_vanishes_or_changes_is_named(pets: Path) -> None:
    source = ImageFolder(pets)
    source.fingerprint()
    (pets / "cat" / "1.png").unlink()
    os.mkfifo(pets / "cat" / "1.png")
    with pytest.raises(CorruptSampleError, match=r"cat/1\.png must be .*it is no regular file"):
        source.read(0)
    (pets / "cat" / "2.png").unlink()
    with pytest.raises(CorruptSampleError, match=r"cat/2\.png must be readable; got No such file"):
        source.read(1)
    (pets / "dog" / "1.png").write_bytes((pets / "dog" / "1.png").read_bytes() + b"more")
    with pytest.raises(DataError, match=r"dog/1\.png must not change while it is converted") as caught:
        source.read(2)
    assert not isinstance(caught.value, CorruptSampleError)


FOREIGN = [
    "@eaDir", "#recycle", "__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN",
    ".Trash-1000", ".ipynb_checkpoints", ".thumbnails", "@Recycle", ".AppleDouble", ".git", "__pycache__",
    "FOUND.000",
]  # fmt: skip


def test_other_programs_files_and_folders_are_no_part_of_a_set_at_any_level(pets: Path) -> None:
    for name in FOREIGN:
        for place in (pets, pets / "cat", pets / "dog" / "deep"):
            save(place / name / "x" / "S.png")
    save(pets / "cat" / "._1.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (pets / "dog" / name).touch()
    source = ImageFolder(pets)
    assert names(source) == SOUND
    assert source.classes == ("cat", "dog")
    count = 3 * len(FOREIGN) + 4
    assert source.notes[0].startswith(
        f"{count} files and folders that are hidden or other programs' own are left"
    )
    assert len(source.notes) == 1


def test_images_outside_of_classes_are_counted(pets: Path) -> None:
    save(pets / "loose.png")
    save(pets / "train.png")
    (note,) = ImageFolder(pets).notes
    assert note.startswith("2 images outside of class folders are left out (loose.png, train.png): move them")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take UTF-8 only")
def test_names_that_are_not_utf8_convert_and_classes_of_such_names_are_refused(
    pets: Path, tmp_path: Path
) -> None:
    odd = [
        b"caf\xe9.png",
        b"a\nb.png",
        b"-rf.png",
        "e\N{COMBINING ACUTE ACCENT}.png".encode(),
        b"x" * 250 + b".png",
    ]
    for name in odd:
        (pets / "cat" / os.fsdecode(name)).write_bytes((pets / "cat" / "1.png").read_bytes())
    (pets / "cat" / os.fsdecode(b"bad\n\xff\t.png")).write_bytes(b"no image")
    out = tmp_path / "x.beton"
    card = convert(ImageFolder(pets), out, ConvertOptions(skip_corrupt=True))
    assert (card.samples, card.skipped) == (9, 1)
    (line,) = skipped_path(out).read_text().splitlines()
    assert line.startswith("cat/bad\\n\\xff\\t.png\t")
    data = open_dataset(out)
    assert {"cat/caf\udce9.png", "cat/a\nb.png", "cat/-rf.png"} <= {data.name(index) for index in range(9)}
    (pets / os.fsdecode(b"caf\xe9")).mkdir()
    save(pets / os.fsdecode(b"caf\xe9") / "1.png")
    with pytest.raises(DataError, match=r"class folders must be UTF-8; .* holds caf\\xe9: rename it"):
        ImageFolder(pets)
    (pets / os.fsdecode(b"caf\xe9")).rename(pets / "a\nb")
    with pytest.raises(DataError, match=r"must be printable characters; .* holds a\\nb: rename it"):
        ImageFolder(pets)


def test_class_folders_that_are_one_name_are_one_class(pets: Path) -> None:
    composed, decomposed = "\N{LATIN CAPITAL LETTER U WITH DIAERESIS}", "U\N{COMBINING DIAERESIS}"
    for name in (composed, decomposed, "cat ", "Dog", "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"):
        save(pets / name / "1.png")
    source = ImageFolder(pets)
    assert source.classes == ("Dog", "cat", "dog", composed, "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}")
    assert source.labels.tolist() == [0, 1, 1, 1, 2, 2, 3, 3, 4]
    assert "blanks at their ends" in source.notes[0]
    assert "'Dog' and 'dog'" in source.notes[1]


_UNPRIVILEGED = """
import os, sys
from pathlib import Path
from pipeline.errors import DataError
from pipeline.sources import ImageFolder
top, *closed = sys.argv[1:]
# As root, who may read the project's own files: all that is imported on first use.
ImageFolder(Path(top, "0")).read(1)
for number, name in enumerate(closed):
    Path(top, str(number), name).chmod(0)
os.setgroups([])
os.seteuid(65534)
for number in range(len(closed)):
    try:
        ImageFolder(Path(top, str(number))).read(0)
    except DataError as error:
        print(type(error).__name__, error)
os.seteuid(0)
for number, name in enumerate(closed):
    Path(top, str(number), name).chmod(0o755)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_what_may_not_be_read_is_an_error() -> None:
    # Beside pytest's folders: each session that begins closes them to other users.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        check_what_may_not_be_read(Path(folder).resolve())


def check_what_may_not_be_read(folder: Path) -> None:
    cases = {
        "cat": "DataError {}/cat must be a folder that can be listed; got Permission denied: mend its",
        "cat/deep": "DataError {}/cat/deep must be a folder that can be listed; got Permission denied",
        "cat/1.png": "CorruptSampleError {}/cat/1.png must be readable; got Permission denied: mend its",
        "": "DataError {} must be a folder that can be listed; got Permission denied",
    }
    for number in range(len(cases)):
        save(folder / str(number) / "cat" / "1.png")
        save(folder / str(number) / "cat" / "deep" / "3.png")
    done = subprocess.run(
        [sys.executable, "-c", _UNPRIVILEGED, str(folder), *cases],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(cases), done.stderr
    for number, (line, message) in enumerate(zip(lines, cases.values(), strict=True)):
        assert line.startswith(message.format(folder / str(number)))
