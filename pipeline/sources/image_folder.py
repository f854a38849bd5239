"""A folder of images, one subfolder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.sources.class_names import alike, changed, listed, tidied
from pipeline.sources.folder_splits import FolderSplits
from pipeline.sources.image_files import ImageFiles
from pipeline.sources.labels import empty_classes
from pipeline.sources.splits import plain_split, split_in_words
from pipeline.sources.walk import ENDINGS, Walk, is_folder


class ImageFolder(ImageFiles):
    """Images in ``folder/<class>/...`` or ``folder/<split>/<class>/...``, in the order of their names.

    Classes are the names of the class folders, without blanks at their ends and in Unicode's form NFC,
    sorted; of a folder with splits they are those of all splits together, so that every split numbers them
    alike. Images may lie deeper than their class folder. Hidden files and folders, and those of operating
    systems and other programs, are no part of the set; these, other files that are no images, images outside
    of class folders and whatever else is left out are counted in ``notes``. Links are followed, but not to a
    folder that they lie in.

    Parameters
    ----------
    folder
        The set, or one split of it.
    split
        "train", "test" or "val", or a name that stands for one (see `pipeline.sources.splits`): the subfolder
        named after it where the set has any of them; a folder without such subfolders is taken as it is,
        whatever the split, and ``notes`` name any but train. None takes "train", and refuses a set whose
        splits have other names than those ("Training").
    name
        Name of the data set; by default the folder's.

    Raises
    ------
    DataError
        When there is no such folder or split, it can't be listed, its splits are ambiguous, there is no image
        in it, or a class's name isn't text.
    """

    def __init__(self, folder: Path, split: str | None = None, name: str | None = None) -> None:
        folder = folder.resolve()
        if not is_folder(folder):
            raise DataError(f"an image folder must be a folder; got {one_line(str(folder))}")
        walk = Walk(folder)
        splits = FolderSplits(walk, folder)
        asked = "train" if split is None else plain_split(split) or split
        notes: list[str] = []
        roots = splits.roots(split)
        root = roots[asked] if splits.present else folder
        if splits.present:
            split = asked
            if splits.beside:
                notes.append(f"folders beside the splits are left out ({listed(splits.beside)})")
        else:
            split = split_in_words(folder.name) or asked
            if split_in_words(folder.name) is not None:
                name = name or one_line(folder.parent.name)
        name = name or one_line(folder.name)
        folders = sorted({sub for one in roots.values() for sub in walk.folders(one)[0]})
        check_class_names(root, folders)
        names = {sub: tidied(sub) for sub in folders}
        classes = tuple(sorted(set(names.values())))
        found, loose = walk.folders(root, note=True)
        if root != folder:
            loose = [f"{root.relative_to(folder)}/{one}" for one in loose]
            loose += walk.folders(folder, note=True)[1]
        files, labels = [], []
        for label, class_name in enumerate(classes):
            for sub in found:
                if names[sub] == class_name:
                    inside = walk.images(root / sub)
                    files += inside
                    labels += [label] * len(inside)
        if not files:
            raise DataError(
                f"an image folder must hold class folders with images ({', '.join(ENDINGS)}); "
                f"{one_line(str(root))} holds {len(found):,} folders and no images in them, and "
                f"{len(loose):,} images outside: arrange it as CLASS/IMAGE"
                + (", or take them unlabeled by --targets none" if loose else "")
            )
        if len(classes) == 1:
            notes.append(f"all images are of one class, {classes[0]}")
        notes += splits.check_classes(root, found)
        notes += changed(folders)
        notes += alike(classes)
        notes += empty_classes(labels, classes)
        if loose:
            notes.append(
                f"{len(loose):,} images outside of class folders are left out "
                f"({listed([one_line(one) for one in loose])}): move them into their classes' folders to "
                "take them"
            )
        notes += walk.notes()
        if asked != "train" and not splits.present and split_in_words(folder.name) != asked:
            notes.append(
                f"{one_line(str(folder))} holds no split folders (train, test, val): all {len(files):,} "
                f"images of it are taken as its {split} split; to hold some out instead, convert it with "
                "--validation"
            )
        super().__init__(
            name=name,
            split=split,
            origin=f"image folder {name}" + (f"/{one_line(root.name)}" if splits.present else ""),
            classes=classes,
            root=root,
            files=files,
            labels=labels,
            notes=tuple(notes),
        )


def splits_in(folder: Path) -> tuple[str, ...]:
    """Return the splits of an image folder: subfolders with a split's name that hold folders themselves."""
    if not is_folder(folder):
        return ()
    folder = folder.resolve()
    return tuple(FolderSplits(Walk(folder), folder).present)


def check_class_names(root: Path, classes: Sequence[str]) -> None:
    """Check that the names of class folders can stand in cards and reports.

    Raises
    ------
    DataError
        When one isn't UTF-8, or holds control characters.
    """
    for name in classes:
        if one_line(name) != name or not tidied(name):
            rule = "UTF-8" if any(0xDC80 <= ord(one) <= 0xDCFF for one in name) else "printable characters"
            raise DataError(
                f"the names of class folders must be {rule}; {one_line(str(root))} holds {one_line(name)}: "
                "rename it"
            )
