"""A folder of images, one subfolder a class."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import DataError
from pipeline.sources.image_files import ImageFiles

SPLITS = ("train", "test", "val")
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder(ImageFiles):
    """Images in ``folder/<class>/...`` or ``folder/<split>/<class>/...``, in the order of their names.

    Classes are the names of the class folders, sorted; of a folder with splits they are those of all splits
    together, so that every split numbers them alike. Images may lie deeper than their class folder. Hidden
    files and folders are no part of the set; other files that are no images are left out and counted in
    ``notes``.

    Parameters
    ----------
    folder
        The set, or one split of it.
    split
        "train", "test" or "val": the subfolder of that name where the set has any of them; a folder without
        such subfolders is taken as it is, whatever the split, and ``notes`` say so of any but train.
    name
        Of the data set; the folder's own by default.

    Raises
    ------
    DataError
        When there is no such folder or split, or no image in it.
    """

    def __init__(self, folder: Path, split: str = "train", name: str | None = None) -> None:
        folder = folder.resolve()
        if not folder.is_dir():
            raise DataError(f"an image folder must be a folder; got {folder}")
        present = splits_in(folder)
        asked = split
        if present and split not in present:
            raise DataError(f"the split must be one that {folder} holds: {', '.join(present)}; got {split}")
        if not present and folder.name in SPLITS:
            name, split = name or folder.parent.name, folder.name
        else:
            name = name or folder.name
        root = folder / split if present else folder
        roots = [folder / one for one in present] or [folder]
        classes = tuple(sorted({sub for root in roots for sub in _subfolders(root)}))
        files, labels, others = [], [], 0
        for label, class_name in enumerate(classes):
            found, left = images_below(root / class_name)
            files += found
            labels += [label] * len(found)
            others += left
        if not files:
            raise DataError(
                f"an image folder must hold class folders with images ({', '.join(ENDINGS)}); {root} "
                f"holds {len(classes)} folders and no images in them: arrange it as CLASS/IMAGE"
            )
        empty = [classes[label] for label in sorted(set(range(len(classes))) - set(labels))]
        notes = [f"class {class_name} has no images" for class_name in empty]
        if others:
            notes.append(f"{others:,} files that are no images ({', '.join(ENDINGS)}) are left out")
        if asked != "train" and not present and folder.name != asked:
            notes.append(
                f"{folder} holds no split folders ({', '.join(SPLITS)}): all {len(files):,} images of it are "
                f"taken as its {split} split; to hold some out instead, convert it with --validation"
            )
        super().__init__(
            name=name,
            split=split,
            origin=f"image folder {name}" + (f"/{split}" if present else ""),
            classes=classes,
            root=root,
            files=files,
            labels=labels,
            notes=tuple(notes),
        )


def splits_in(folder: Path) -> tuple[str, ...]:
    """Give the splits of an image folder: subfolders with a split's name that hold folders themselves."""
    # A class may well be called "train": what tells a split is that it holds folders, not images.
    return tuple(split for split in SPLITS if (folder / split).is_dir() and _subfolders(folder / split))


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]


def images_below(folder: Path) -> tuple[list[Path], int]:
    """List the images below a folder in the order of their paths, and count the other files."""
    images, others = [], 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(ENDINGS):
                images.append(Path(parent, name))
            else:
                others += not name.startswith(".")
    visible = [path for path in images if not path.name.startswith(".")]
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix()), others
