"""Images without targets: folders of photographs, and sets whose classes are left aside."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.sources.class_names import listed
from pipeline.sources.folder_splits import FolderSplits
from pipeline.sources.image_files import ImageFiles
from pipeline.sources.protocol import Source, no_labels
from pipeline.sources.splits import plain_split, split_in_words
from pipeline.sources.walk import ENDINGS, Walk, is_folder
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
        asked = "train" if split is None else plain_split(split) or split
        # From the folder's own parent: a walk doesn't go through the folder that it starts from.
        walk = Walk(folder.parent)
        loose = walk.folders(folder)[1]
        roots = {} if loose else FolderSplits(walk, folder).unlabeled
        if roots and asked not in roots:
            held = ", ".join(roots)
            raise DataError(
                f"the split must be one that {one_line(str(folder))} holds: {held}; got {asked}: name one of "
                "them by --split, or give the path of another folder"
            )
        root = roots.get(asked, folder)
        name, part = one_line(folder.name), asked
        if not roots and split_in_words(folder.name) is not None:
            name, part = one_line(folder.parent.name), split_in_words(folder.name) or asked
        notes = []
        if roots:
            beside = [one for one in walk.folders(folder)[0] if folder / one not in roots.values()]
            if beside:
                notes.append(
                    f"folders beside the splits are left out ({listed(list(map(one_line, beside)))})"
                )
        files = walk.images(root)
        if not files:
            raise DataError(
                f"a folder of unlabeled images must hold images ({', '.join(ENDINGS)}); "
                f"{one_line(str(root))} holds none: give the path of the folder that does"
            )
        super().__init__(
            name=name,
            split=part,
            origin=f"unlabeled image folder {name}" + (f"/{one_line(root.name)}" if roots else ""),
            classes=(),
            root=root,
            files=files,
            labels=no_labels(len(files)),
            notes=(*notes, *walk.notes()),
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
