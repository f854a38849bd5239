"""The splits of an image folder, under the names that other tools give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.sources.class_names import listed
from pipeline.sources.splits import SPLITS, plain_split, split_in_words
from pipeline.sources.walk import Tree


class FolderSplits:
    """The subfolders of an image folder that are splits of it rather than classes.

    A class may well be called "train", as the vehicle. So a split is a folder that is called exactly by a
    split's name ("train", "valid") and holds folders, not images; or one of several folders that are named
    after different splits in other ways ("Training" and "Testing", "seg_train" and "seg_test").

    Attributes
    ----------
    present
        The folder of each split, by split.
    beside
        Names of folders beside the splits, as they are shown.
    """

    def __init__(self, walk: Tree, folder: Path) -> None:
        self._walk = walk
        self._folder = folder
        names = walk.folders(folder)[0]
        self._flat: dict[str, str] = {}
        """Folders that have a split's name and hold only images, by split."""
        self._odd = False
        """Whether the splits' names are only used on request."""
        self.present: dict[str, Path] = {}
        self._take({name: split for name in names if (split := plain_split(name)) is not None})
        if not self.present:
            self._take_odd(names)
        taken = {path.name for path in self.present.values()} | set(self._flat.values())
        self.beside = [one_line(name) for name in names if name not in taken] if self.present else []

    def roots(self, asked: str | None) -> dict[str, Path]:
        """Return the folders whose subfolders are classes, by split; the whole set's under "" without splits.

        Parameters
        ----------
        asked
            The requested split, which must be there; None for train, but only by one of its own names.

        Raises
        ------
        DataError
            When there is no such split.
        """
        if not self.present:
            return {"": self._folder}
        folder = one_line(str(self._folder))
        split = "train" if asked is None else plain_split(asked) or asked
        if self._odd and asked is None:
            choices = [f"--split {one} for {one_line(str(path))}" for one, path in self.present.items()]
            raise DataError(
                f"a set must be one split or say which; {folder} holds splits, not classes: give "
                f"{' or '.join(choices)}, or that path itself"
            )
        if split in self._flat and split not in self.present:
            raise DataError(self._unsorted(self._folder / self._flat[split]))
        if split not in self.present:
            held = [
                one if path.name == one else f"{one} ({one_line(path.name)})"
                for one, path in self.present.items()
            ]
            raise DataError(
                f"the split must be one that {folder} holds: {', '.join(held)}; got {split}: name one of "
                "them by --split, or give the path of another folder"
            )
        return self.present

    @property
    def unlabeled(self) -> dict[str, Path]:
        """The folder of each split, by split, whether it holds class folders or only images."""
        return {split: self._folder / name for split, name in self._flat.items()} | self.present

    def check_classes(self, root: Path, classes: Sequence[str]) -> list[str]:
        """Check that the class folders aren't splits, nor folders that hold splits.

        Returns
        -------
        list[str]
            Notes on folders that may not be the classes.

        Raises
        ------
        DataError
            When they are.
        """
        flat = {split: name for name in classes if (split := plain_split(name.lower())) is not None}
        worded = {split_in_words(name) for name in classes}
        if len(flat) > 1 or (len(worded) > 1 and None not in worded):
            first = self._walk.folders(root / classes[0])[1]
            named = " and ".join(map(one_line, list(flat.values()) or classes))
            raise DataError(
                f"splits must hold class folders; {named} of {one_line(str(root))} hold images alone"
                f"{'' if first else ', or nothing'}, and would become the classes: arrange them as "
                "SPLIT/CLASS/IMAGE, or take them unlabeled by --targets none"
            )
        # A set may lie some folders further down, as archive/pets/CLASS/IMAGE.
        paths = [root / name for name in classes] if len(classes) > 1 else [self._lowest(root / classes[0])]
        shared: set[str] | None = None
        for path in paths:
            folders, images = self._walk.folders(path)
            inside = {split_in_words(one): one for one in folders}
            inside.pop(None, None)
            if len(inside) > 1:
                held = " and ".join(map(one_line, inside.values()))
                remedy = (
                    f"give {one_line(str(path))}" if len(classes) == 1 else "arrange it as SPLIT/CLASS/IMAGE"
                )
                raise DataError(
                    f"a class must not hold splits; {one_line(str(path))} holds {held}, which would "
                    f"be mixed: {remedy}"
                )
            shared = set() if images else set(folders) if shared is None else shared & set(folders)
        if len(shared or ()) < 2:
            return []
        below = listed([one_line(one) for one in sorted(shared or ())])
        if len(classes) == 1:
            where = one_line(str(paths[0]))
            return [f"{where} holds folders ({below}) and no images: where those are the classes, give it"]
        return [
            f"all class folders hold folders of the same names ({below}), whose images are mixed: where "
            "those are the classes, give the path of the folder that holds them"
        ]

    def _take(self, named: dict[str, str]) -> None:
        order = list(SPLITS)
        for name, split in sorted(named.items(), key=lambda one: order.index(one[1])):
            path = self._folder / name
            folders, images = self._walk.folders(path)
            if not folders:
                if images:
                    self._flat[split] = name
                continue
            if split in self.present:
                raise DataError(
                    f"a set must hold each split once; {one_line(str(self._folder))} holds "
                    f"{one_line(self.present[split].name)} and {one_line(name)}, both named after {split}: "
                    "give the path of one of them"
                )
            self.present[split] = self._inner(path, split)

    def _take_odd(self, names: Sequence[str]) -> None:
        """Add splits with other names, if they are almost certainly splits."""
        named = {name: split for name in names if (split := split_in_words(name)) is not None}
        plain = {name: split for name in named if (split := plain_split(name.lower())) is not None}
        rest = [name for name in names if name not in named and self._holds_images(name)]
        for chosen in (named if not rest or self._alike(named, rest) else {}, plain):
            lone = len(chosen) == 1 and len(plain) == 1 and not rest
            if len(set(chosen.values())) > 1 or lone:
                self._take(chosen)
                self._odd = bool(self.present)
                return

    def _alike(self, named: dict[str, str], rest: Sequence[str]) -> bool:
        """Whether folders named after splits hold folders of the same names, and ``rest`` other ones."""
        inside = [set(self._inner_folders(name, split)) for name, split in named.items()]
        shared = set.intersection(*inside) if inside else set()
        return bool(shared.difference(*(self._walk.folders(self._folder / name)[0] for name in rest)))

    def _inner_folders(self, name: str, split: str) -> list[str]:
        return self._walk.folders(self._inner(self._folder / name, split))[0]

    def _lowest(self, path: Path) -> Path:
        """Descend while a folder holds one folder and nothing else."""
        folders, images = self._walk.folders(path)
        while len(folders) == 1 and not images:
            path /= folders[0]
            folders, images = self._walk.folders(path)
        return path

    def _inner(self, path: Path, split: str) -> Path:
        """Descend if a split holds only a folder of its own name, as seg_train/seg_train/CLASS."""
        folders, images = self._walk.folders(path)
        while len(folders) == 1 and not images and split_in_words(folders[0]) == split:
            deeper, images = self._walk.folders(path / folders[0])
            if not deeper:
                break
            path, folders = path / folders[0], deeper
        return path

    def _holds_images(self, name: str) -> bool:
        waiting = [self._folder / name]
        for _ in range(_LOOKED_AT):
            if not waiting:
                return False
            path = waiting.pop()
            folders, images = self._walk.folders(path)
            if images:
                return True
            waiting += [path / one for one in folders]
        return True

    def _unsorted(self, path: Path) -> str:
        images = self._walk.folders(path)[1]
        how = ""
        if images[0].startswith("ILSVRC2012_val"):
            how = (
                " (the published archive is flat: its ground truth tells each image's class; see valprep.sh)"
            )
        return (
            f"a split must hold class folders; {one_line(str(path))} holds {len(images):,} images and no "
            f"folders ({listed(list(map(one_line, images)))}): sort them into "
            f"{one_line(path.name)}/CLASS/IMAGE{how}, or take them unlabeled by --targets none"
        )


_LOOKED_AT = 1_000
"""Maximum number of folders searched for a first image."""
