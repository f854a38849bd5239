"""A folder of images, one subfolder per class."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.sources.arrangement import in_classes
from pipeline.sources.folder_splits import FolderSplits
from pipeline.sources.image_files import ImageFiles
from pipeline.sources.walk import Walk, is_folder


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
        found = in_classes(Walk(folder), folder, split, name)
        super().__init__(
            name=found.name,
            split=found.split,
            origin=f"image folder {found.name}{found.part}",
            classes=found.classes,
            root=found.root,
            files=found.files,
            labels=found.labels,
            notes=found.notes,
        )


def splits_in(folder: Path) -> tuple[str, ...]:
    """Return the splits of an image folder: subfolders with a split's name that hold folders themselves."""
    if not is_folder(folder):
        return ()
    folder = folder.resolve()
    return tuple(FolderSplits(Walk(folder), folder).present)
