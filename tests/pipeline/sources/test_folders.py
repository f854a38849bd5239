"""Folders of images: the order of names, splits, damaged images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import noise, save
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources import ImageFolder


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("b/2.png", "b/10.png", "a/x/1.PNG", "a/b.png", "c/d.bmp", "a/.hidden.png")
    ):
        save(tmp_path / "set" / name, number)
    (tmp_path / "set" / ".cache").mkdir()
    (tmp_path / "set" / "a" / "readme.txt").touch()
    source = ImageFolder(tmp_path / "set")
    names = [source.sample_name(index) for index in range(len(source))]
    assert names == ["a/b.png", "a/x/1.PNG", "b/10.png", "b/2.png", "c/d.bmp"]
    assert source.classes == ("a", "b", "c")
    assert source.labels.tolist() == [0, 0, 1, 1, 2]
    assert (source.name, source.split, source.origin) == ("set", "train", "image folder set")
    assert source.notes == (
        "1 files that are no images by their endings are left out (.txt)",
        "2 files and folders that are hidden or other programs' own are left out (.cache, .hidden.png)",
    )
    np.testing.assert_array_equal(source.read(2), noise(1, 12, 16, 3))


def test_splits_number_the_classes_alike(tmp_path: Path) -> None:
    save(tmp_path / "train" / "ant" / "0.png", 1)
    save(tmp_path / "train" / "cat" / "0.png", 2)
    save(tmp_path / "test" / "cat" / "0.png", 3)
    save(tmp_path / "test" / "dog" / "0.png", 4)
    train, test = ImageFolder(tmp_path), ImageFolder(tmp_path, "test")
    assert train.classes == test.classes == ("ant", "cat", "dog")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1, 2]
    assert test.origin == f"image folder {tmp_path.name}/test"
    assert train.notes == ("1 of the 3 classes has no images: 'dog'",)
    with pytest.raises(DataError, match=r"split must be one that .* holds: train, test; got val"):
        ImageFolder(tmp_path, "val")


def test_a_split_named_directly_knows_its_name(tmp_path: Path) -> None:
    save(tmp_path / "pets" / "test" / "cat" / "0.png")
    save(tmp_path / "pets" / "test" / "dog" / "0.png")
    source = ImageFolder(tmp_path / "pets" / "test")
    assert (source.name, source.split) == ("pets", "test")
    assert ImageFolder(tmp_path / "pets" / "test", "test").notes == ()


def test_a_split_of_a_folder_without_any_is_told(tmp_path: Path) -> None:
    save(tmp_path / "pets" / "cat" / "0.png")
    save(tmp_path / "pets" / "dog" / "0.png")
    assert ImageFolder(tmp_path / "pets").notes == ()
    (note,) = ImageFolder(tmp_path / "pets", "test").notes
    assert "holds no split folders (train, test, val): all 2 images of it are taken as its test split" in note
    assert "--validation" in note


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    save(tmp_path / "bus" / "0.png")
    save(tmp_path / "train" / "0.png")
    source = ImageFolder(tmp_path)
    assert source.classes == ("bus", "train")
    assert len(source) == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    save(tmp_path / "outside.png")
    with pytest.raises(DataError, match="1 folders and no images in them"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="must be a folder; got"):
        ImageFolder(tmp_path / "outside.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "tiff", "webp", "bmp"])
def test_a_damaged_image_is_named(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / "a" / f"x.{ending}", 0, (64, 64, 3))
    content = path.read_bytes()
    for damaged in (b"", content[:5], content[: len(content) // 2], b"no image at all"):
        path.write_bytes(damaged)
        with pytest.raises(
            CorruptSampleError, match=f"x.{ending} must be a whole image file; it can't be decoded"
        ) as e:
            ImageFolder(tmp_path).read(0)
        assert "\n" not in str(e.value)


def test_jpegs_are_given_as_they_are_only_where_nothing_is_to_be_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(noise(0, 16, 24, 3))
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "0.jpg")
    image.save(tmp_path / "a" / "1.jpeg", exif=exif)
    image.convert("L").save(tmp_path / "a" / "2.JPG")
    image.convert("CMYK").save(tmp_path / "a" / "3.jpg")
    image.save(tmp_path / "a" / "4.png")
    image.save(tmp_path / "a" / "5.jpg", format="PNG")
    source = ImageFolder(tmp_path)
    given = [source.encoded(index) for index in range(6)]
    assert [content is not None for content in given] == [True, False, True, False, False, False]
    assert given[0] == (tmp_path / "a" / "0.jpg").read_bytes()
    assert source.read(1).shape == (24, 16, 3)
    np.testing.assert_array_equal(source.read(5), noise(0, 16, 24, 3))
    (tmp_path / "a" / "0.jpg").write_bytes(b"\xff\xd8 no more")
    with pytest.raises(CorruptSampleError, match=r"a/0\.jpg must be a whole image file"):
        source.encoded(0)
