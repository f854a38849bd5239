"""Search for the files of a sharded data set."""

from __future__ import annotations

import glob
import math
import re
from pathlib import Path

from pipeline.errors import DataError
from pipeline.sources.splits import split_in_words

_FOLDERS = (".", "data", "train", "test", "val", "validation")
_RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_MOST_SHARDS = 1_000_000


def find_shards(text: str, ending: str, split: str) -> list[Path]:
    """Return the files of a data set that end in ``ending``, sorted by name; empty if it has none.

    Parameters
    ----------
    text
        A file, a folder, or a pattern with ``*``, ``?``, ``[...]`` or ``{000..123}``.
    ending
        As in ".tar".
    split
        In a folder whose files, or their folders, are named after splits, those of this one.

    Raises
    ------
    DataError
        When a pattern matches nothing or a file of a range is missing, ranges name more than a million files,
        or a folder has other splits only.
    """
    path = Path(text)
    if path.is_dir():
        return _of_split(path, ending, split)
    if not text.lower().endswith(ending):
        return []
    if path.is_file():
        return [path]
    named = math.prod(max(0, int(last) - int(first) + 1) for first, last in _RANGE.findall(text))
    if named > _MOST_SHARDS:
        raise DataError(
            f"a source must be at most {_MOST_SHARDS:,} files; got {text}, which are {named:,}: mend the "
            "range, or give a pattern with *"
        )
    found = sorted({one for each in _expanded(text) for one in _matches(each)})
    missing = next((one for one in found if not one.is_file()), None)
    if missing is not None or not found:
        raise DataError(
            f"a source must be files that are there; got {text}, and there is no {missing or text}"
        )
    return found


def _matches(text: str) -> list[Path]:
    if not glob.has_magic(text):
        return [Path(text)]
    # A pattern may begin anywhere and go through folders, which are two cases for Path.glob.
    return [Path(one) for one in glob.glob(text)]  # noqa: PTH207


def other_shards(text: str, ending: str, split: str) -> list[Path]:
    """Return the files of a data set's other splits, whose classes are numbered together with this one's.

    Parameters
    ----------
    text, ending, split
        As for `find_shards`.

    Returns
    -------
    list[Path]
        Of a folder, sorted by name; none for files that are named one by one or by a pattern, as what lies
        beside them may belong to anything.
    """
    path = Path(text)
    named = _named(path, ending) if path.is_dir() else {}
    return [path for path, one in named.items() if one not in (None, split)]


def _named(folder: Path, ending: str) -> dict[Path, str | None]:
    """Return a folder's files, sorted by name, and the splits that they are named after."""
    within = (path for below in _FOLDERS for path in (folder / below).glob("*"))
    found = sorted({path for path in within if path.name.lower().endswith(ending)})
    return {path: _split_of(path.relative_to(folder)) for path in found}


def _of_split(folder: Path, ending: str, split: str) -> list[Path]:
    named = _named(folder, ending)
    splits = {one for one in named.values() if one is not None}
    if not splits:
        return list(named)
    if split not in splits:
        raise DataError(
            f"the split must be one that {folder} holds: {', '.join(sorted(splits))}; got {split}: name "
            "the files of another by a pattern"
        )
    return [path for path, one in named.items() if one == split]


def _split_of(path: Path) -> str | None:
    return split_in_words(" ".join(path.parts))


def _expanded(text: str) -> list[str]:
    """Expand ranges of numbers, as shells and WebDataset do."""
    found = _RANGE.search(text)
    if found is None:
        return [text]
    first, last = found[1], found[2]
    numbers = [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    return [
        whole
        for number in numbers
        for whole in _expanded(text[: found.start()] + number + text[found.end() :])
    ]


def name_of(text: str) -> str:
    """Return a data set's name from its files: "pets" for pets, pets.tar, and pets/train-{00..09}.tar."""
    path = Path(text)
    if path.is_dir():
        return path.resolve().name
    name = re.sub(r"[-_.]\d*$", "", re.split(r"[*?\[{]", path.stem)[0])
    return name if name and _split_of(Path(name)) is None else path.resolve().parent.name
