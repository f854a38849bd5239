"""Images without targets: folders of photographs, and sets whose classes are left aside."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.sources.arrangement import unlabeled
from pipeline.sources.image_files import ImageFiles
from pipeline.sources.protocol import Source, no_labels
from pipeline.sources.walk import Walk, is_folder
from pipeline.sources.wrapped import Wrapped
from pipeline.targets import TargetKind


class UnlabeledFolder(ImageFiles):
    """All images below a folder, however deep, in the order of their paths; folders are no classes.

    A folder with subfolders that are called like splits ("train", "test"), and no images beside them, is one
    with splits. What is left out and how links are followed is as in `ImageFolder`.

    Parameters
    ----------
    folder
        The images, or folders of them.
    split
        Which of the splits, "train" by default; without splits the name that is noted on the card.

    Raises
    ------
    DataError
        When there is no such folder or split, it can't be listed, or there is no image in it.
    """

    def __init__(self, folder: Path, split: str | None = None) -> None:
        folder = folder.resolve()
        if not is_folder(folder):
            raise DataError(f"an image folder must be a folder; got {one_line(str(folder))}")
        # From the folder's own parent: a walk doesn't go through the folder that it starts from.
        found = unlabeled(Walk(folder.parent), folder, split)
        super().__init__(
            name=found.name,
            split=found.split,
            origin=f"unlabeled image folder {found.name}{found.part}",
            classes=(),
            root=found.root,
            files=found.files,
            labels=no_labels(len(found.files)),
            notes=found.notes,
            kind="none",
        )


class Unlabeled(Wrapped):
    """The images of ``source`` without its targets.

    Parameters
    ----------
    source
        Any source.
    """

    kind: TargetKind = "none"
    classes: tuple[str, ...] = ()

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.notes = (*source.notes, f"the targets of {source.origin} are left out")
        self.labels = no_labels(len(source))
