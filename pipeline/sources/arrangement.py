"""Images in folders, as a set with classes and splits or without: on a disk, or in an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.sources.class_names import alike, changed, listed, tidied
from pipeline.sources.folder_splits import FolderSplits
from pipeline.sources.labels import empty_classes
from pipeline.sources.splits import plain_split, split_in_words
from pipeline.sources.walk import ENDINGS, Tree


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A set of images in folders.

    Attributes
    ----------
    name, split, classes, notes
        See `pipeline.sources.protocol.Source`.
    root
        The folder that the files' names are relative to.
    files
        Paths below ``root``.
    labels
        One per file; empty without classes.
    part
        Name of the folder of the split, after a slash; empty where there are no splits.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    root: Path
    files: list[Path]
    labels: list[int]
    part: str


def in_classes(tree: Tree, folder: Path, split: str | None = None, name: str | None = None) -> Arrangement:
    """Return the images of ``folder/<class>/...`` or ``folder/<split>/<class>/...``.

    Parameters
    ----------
    tree
        What ``folder`` lies in.
    folder
        The set, or one split of it.
    split
        See `pipeline.sources.image_folder.ImageFolder`.
    name
        Name of the data set; by default the folder's.

    Raises
    ------
    DataError
        When there is no such split, a folder can't be listed, splits are ambiguous, there is no image, or a
        class's name isn't text.
    """
    splits = FolderSplits(tree, folder)
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
    folders = sorted({sub for one in roots.values() for sub in tree.folders(one)[0]})
    check_class_names(root, folders)
    names = {sub: tidied(sub) for sub in folders}
    classes = tuple(sorted(set(names.values())))
    found, loose = tree.folders(root, note=True)
    if root != folder:
        loose = [f"{root.relative_to(folder)}/{one}" for one in loose]
        loose += tree.folders(folder, note=True)[1]
    files, labels = [], []
    for label, class_name in enumerate(classes):
        for sub in found:
            if names[sub] == class_name:
                inside = tree.images(root / sub)
                files += inside
                labels += [label] * len(inside)
    if not files:
        raise DataError(
            f"an image folder must hold class folders with images ({', '.join(ENDINGS)}); "
            f"{one_line(str(root))} holds {len(found):,} folders and no images in them, and "
            f"{len(loose):,} images outside{tree.unread and f', and {tree.unread}'}: arrange it as "
            "CLASS/IMAGE" + (", or take them unlabeled by --targets none" if loose else "")
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
    notes += tree.notes()
    if asked != "train" and not splits.present and split_in_words(folder.name) != asked:
        notes.append(
            f"{one_line(str(folder))} holds no split folders (train, test, val): all {len(files):,} "
            f"images of it are taken as its {split} split; to hold some out instead, convert it with "
            "--validation"
        )
    part = f"/{one_line(root.name)}" if splits.present else ""
    return Arrangement(name, split, classes, tuple(notes), root, files, labels, part)


def unlabeled(tree: Tree, folder: Path, split: str | None = None, name: str | None = None) -> Arrangement:
    """Return all images below a folder, however deep, in the order of their paths; folders are no classes.

    A folder with subfolders that are called like splits ("train", "test"), and no images beside them, is one
    with splits.

    Parameters
    ----------
    tree, folder, name
        As for `in_classes`.
    split
        Which of the splits, "train" by default; without splits the name that is noted on the card.

    Raises
    ------
    DataError
        When there is no such split, a folder can't be listed, or there is no image in it.
    """
    asked = "train" if split is None else plain_split(split) or split
    loose = tree.folders(folder)[1]
    roots = {} if loose else FolderSplits(tree, folder).unlabeled
    if roots and asked not in roots:
        held = ", ".join(roots)
        raise DataError(
            f"the split must be one that {one_line(str(folder))} holds: {held}; got {asked}: name one of "
            "them by --split, or give the path of another folder"
        )
    root, part = roots.get(asked, folder), asked
    if not roots and split_in_words(folder.name) is not None:
        name, part = name or one_line(folder.parent.name), split_in_words(folder.name) or asked
    notes = []
    if roots:
        beside = [one for one in tree.folders(folder)[0] if folder / one not in roots.values()]
        if beside:
            notes.append(f"folders beside the splits are left out ({listed(list(map(one_line, beside)))})")
    files = tree.images(root)
    if not files:
        raise DataError(
            f"a folder of unlabeled images must hold images ({', '.join(ENDINGS)}); "
            f"{one_line(str(root))} holds {tree.unread or 'none'}: give the path of the folder that "
            "does, or convert them"
        )
    return Arrangement(
        name=name or one_line(folder.name),
        split=part,
        classes=(),
        notes=(*notes, *tree.notes()),
        root=root,
        files=files,
        labels=[],
        part=f"/{one_line(root.name)}" if roots else "",
    )


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
