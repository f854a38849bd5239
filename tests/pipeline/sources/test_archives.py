"""Folders of images in archives: read as if they were unpacked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_files import noise
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources import open_source, splits_of
from pipeline.sources.archives import ArchivedImages


def png(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(seed, 9, 8, 3)).save(file, "PNG")
    return file.getvalue()


def packed(path: Path, *names: str) -> Path:
    """Pack images, and text where a name is no image's; folders end in a slash."""
    contents = {name: png(seed) if name.endswith("png") else b"text" for seed, name in enumerate(names)}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, b"" if name.endswith("/") else content)
        return path
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize("within", ["", "pets-main/", "a/b/"])
def test_the_set_may_lie_some_folders_down(tmp_path: Path, ending: str, within: str) -> None:
    path = packed(
        tmp_path / f"pets.{ending}", *(f"{within}{name}.png" for name in ("dog/2", "cat/1", "dog/deep/3"))
    )
    source = open_source(str(path))
    assert (source.name, source.split, source.classes) == ("pets", "train", ("cat", "dog"))
    assert source.labels.tolist() == [0, 1, 1]
    assert [source.sample_name(index) for index in range(3)] == ["cat/1.png", "dog/2.png", "dog/deep/3.png"]
    np.testing.assert_array_equal(source.read(0), noise(1, 9, 8, 3))
    assert splits_of(str(path)) == ()


def test_splits_are_found_and_an_empty_class_is_noted(tmp_path: Path) -> None:
    names = ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "train/owl/")
    path = packed(tmp_path / "pets.zip", *names)
    assert splits_of(str(path)) == ("train", "test")
    source = open_source(str(path), split="test")
    assert source.classes == ("cat", "dog", "owl")
    assert len(source) == 1
    assert any("owl" in note for note in open_source(str(path)).notes)


def test_what_programs_leave_in_archives_is_no_part_of_the_set(tmp_path: Path) -> None:
    names = (
        "pets/cat/1.png",
        "pets/dog/2.png",
        "__MACOSX/pets/cat/._1.png",
        "pets/.DS_Store",
        "pets/readme.md",
    )
    source = open_source(str(packed(tmp_path / "pets.zip", *names)))
    assert source.classes == ("cat", "dog")
    said = " ".join(source.notes)
    assert "1 files that are no images by their endings are left out (.md)" in said
    assert "__MACOSX" in said


def test_a_train_archive_is_named_after_its_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    source = open_source(str(packed(tmp_path / "pets" / "test.zip", "cat/1.png", "dog/2.png")))
    assert (source.name, source.split) == ("pets", "test")


def test_all_images_are_taken_without_classes(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", "train/cat/1.png", "test/cat/2.png", "3.png")
    source = ArchivedImages(path, kind="none", whole=True)
    assert [source.sample_name(index) for index in range(3)] == [
        "x.zip/3.png",
        "x.zip/test/cat/2.png",
        "x.zip/train/cat/1.png",
    ]
    assert len(open_source(str(path), targets="none")) == 3


def test_names_that_lead_elsewhere_stay_in_the_archive(tmp_path: Path) -> None:
    source = open_source(str(packed(tmp_path / "x.zip", "../../cat/1.png", "/dog/2.png")))
    assert [source.sample_name(index) for index in range(2)] == ["cat/1.png", "dog/2.png"]
    assert source.read(1).shape == (9, 8, 3)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", "cat/1.png", "dog/2.png")
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    source = open_source(str(path))
    with pytest.raises(CorruptSampleError, match=r"x.zip/cat/1.png must be a whole image file; .*checksum"):
        source.read(0)
    assert source.read(1).shape == (9, 8, 3)


@pytest.mark.parametrize("ending", ["zip", "tar"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("notes/1.md", "notes/2.md"), "must hold class folders with images"),
        (("cat/1.png", "./cat/1.png"), "must have a name of its own"),
    ],
)
def test_what_is_no_set_is_one_line(tmp_path: Path, ending: str, names: tuple[str, ...], said: str) -> None:
    path = packed(tmp_path / f"x.{ending}", *names)
    with pytest.raises(DataError, match=said) as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="one class per image"):
        open_source(str(packed(tmp_path / "y.zip", "cat/1.png")), targets="value")


def test_a_tar_with_labels_beside_its_images_is_webdatasets(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for number, kind in enumerate("ab"):
            for ending, content in (("png", png(number)), ("cls", kind.encode())):
                member = tarfile.TarInfo(f"folder/{number}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    source = open_source(str(path))
    assert source.classes == ("a", "b")
    assert not isinstance(source, ArchivedImages)
