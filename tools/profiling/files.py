"""Files of profiles: read and checked, and shown as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from pipeline.formats.whole import write_whole
from pipeline.recording import SCHEMA
from pipeline.text import parsed, read_text
from tools.arguments import UsageError, parse
from tools.outputs import check_output
from tools.profiling.loops import completed
from tools.profiling.page import page
from trainer.errors import RunError

FILE, PAGE = "profile.json", "profile.html"
"""Names of a profile's files in its folder."""

OUT = "FOLDER|FILE.html"
"""Values of --out, of each of the command's forms."""

_ENDING = ".html"

KINDS = ("run", "loader", "steps")
"""Profiles: of a run's settings, of a loader in anybody's loop, and of some steps of a real run."""


@dataclass(frozen=True, slots=True)
class Place:
    """Files that ``--out`` stands for: a folder of them, or a page .html with the others beside it."""

    page: Path
    figures: Path
    trace: Path

    @classmethod
    def of(cls, out: Path) -> Place:
        """Return the files of a profile that is written to ``out``."""
        if out.suffix.lower() == _ENDING:
            return cls(out, out.with_suffix(".json"), out.with_suffix(".trace.json"))
        return cls(out / PAGE, out / FILE, out / "trace.json")

    def check(self) -> None:
        """Raise UsageError unless a profile can be written there."""
        check_page(self.page)
        check_output("--out", self.figures, FILE, mark=b'"kind"')


def page_file(out: Path, name: str) -> Path:
    """Return the page that ``--out`` names: itself if it ends in .html, else ``name`` in that folder."""
    return out if out.suffix.lower() == _ENDING else out / name


def check_page(page: Path) -> None:
    """Raise UsageError unless a page can be written."""
    folder = page.parent
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"--out must be a folder, or a page that ends in {_ENDING}; got the file {folder}: name another"
        )
    check_output("--out", page, PAGE)


def is_profile(word: str) -> bool:
    """Return whether a word of a command line is the path of a profile, rather than a recipe or images.

    A run's folder is meant as one, whether or not steps of it were recorded.
    """
    path = Path(word)
    return word.endswith(".json") or any((path / name).is_file() for name in (FILE, "run.toml"))


def read_profile(path: Path) -> dict[str, Any]:
    """Read a profile from its file or its folder.

    Raises
    ------
    RunError
        When it isn't one, or is of another version.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        remedy = ": `trainer run --profile-steps FIRST:LAST` records one in a run" if path.is_dir() else ""
        raise RunError(
            f"a profile must be a folder or file that `trainer profile` wrote; {file} does not exist{remedy}"
        )
    try:
        found = parsed(json.loads, read_text(file))
    except (ValueError, OSError) as error:
        raise RunError(f"{file} must be a profile's JSON; {error}") from None
    if not isinstance(found, Mapping) or found.get("kind") not in KINDS:
        raise RunError(
            f"{file} must be a profile, as `trainer profile --out FOLDER` writes it; it is other JSON"
        )
    if found.get("schema") != SCHEMA:
        raise RunError(
            f"{file} must be a profile of schema {SCHEMA}; got {found.get('schema')}: profile the run again"
        )
    try:
        return completed(found)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{file} must be a whole profile; it lacks or garbles {error}") from None


@dataclass(frozen=True)
class Shown:
    """Write the page of a profile that was taken elsewhere."""

    profile: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.json")]
    """A profile's file, or its folder."""

    out: Annotated[Path | None, tyro.conf.arg(metavar=OUT)] = None
    """Where the page is written: a folder, for profile.html in it, or a page FILE.html (default: beside the
    profile, with the ending .html)."""

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Shown:
        """Parse a command line."""
        return parse(cls, words, prog)

    def execute(self, console: Console) -> int:
        """Write the page, and print the sentence and where it is."""
        figures = read_profile(self.profile)
        file = self.profile / FILE if self.profile.is_dir() else self.profile
        out = file.with_suffix(".html") if self.out is None else page_file(self.out, PAGE)
        check_page(out)
        write_whole(out, page(figures).encode(errors="replace"))
        console.print(figures["sentence"], highlight=False, soft_wrap=not console.is_terminal)
        console.print(f"page: {out}", highlight=False, soft_wrap=True)
        return 0
