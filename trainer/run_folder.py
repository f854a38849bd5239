"""The run folder: the files of a run, each written atomically."""

from __future__ import annotations

import errno
import json
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.text import parsed, read_text
from trainer import config, recipe
from trainer.errors import RunError
from trainer.lock import RunLock
from trainer.settings import comparison, rules
from trainer.slots import SLOTS

SCHEMA = 2
"""Schema of environment.json, ledger.json and the lines of evaluations.jsonl; in 1, accuracy and loss were in
the line itself, not in a table of metrics."""

FILES = (
    "run.toml",
    "environment.json",
    "steps.jsonl",
    "evaluations.jsonl",
    "ledger.json",
    "samples.parquet",
    "lock",
)
"""Files of a run folder, besides its folder of checkpoints."""


class RunFolder:
    """One run's folder; its files' schemas are in trainer/README.md.

    Opening the folder of an earlier session of the same run is fine and goes on with it; the folder of
    another run is refused.

    Raises
    ------
    RunError
        When the folder is another run's, its run.toml can't be read, or something else stands where a run's
        files are to be.
    """

    def __init__(self, path: Path, run: config.Run) -> None:
        self.path = path
        self._run = run
        self._lock: RunLock | None = None
        self._check()

    def __repr__(self) -> str:
        return f"RunFolder({self.path}, {'begun' if self.checkpoint.exists() else 'without a checkpoint'})"

    def _check(self) -> None:
        # Opening a FIFO would block, and obstacles to a checkpoint would be found only when one is due.
        for name in FILES:
            _check_kind(self.path / name, stat.S_ISREG, "regular file")
        _check_kind(self.checkpoint.parent, stat.S_ISDIR, "folder")
        _mode(self.checkpoint)
        kept = self.path / "run.toml"
        other = self.differences(_read(kept, tomllib.loads)) if kept.exists() else None
        if other is not None:
            raise RunError(
                f"run folder {self.path} holds a run with other settings ({other}): "
                "give this one another --name, or move it away"
            )

    @property
    def table(self) -> dict[str, Any]:
        """The run's table, for its checkpoints."""
        return recipe.to_table(self._run)

    def differences(self, table: Mapping[str, Any]) -> str | None:
        """Name the settings in which a table that an earlier session wrote isn't this run's, if any."""
        return comparison.differences(table, self._run)

    @contextmanager
    def held(self, leads: bool) -> Iterator[None]:
        """Keep other processes from training in the folder; one of several ranks does it for all.

        Raises
        ------
        RunError
            When one does so already, or has made the folder another run's since it was looked at.
        DataError
            When the folder can't be written to.
        """
        if not leads:
            yield
            return
        with RunLock(self.path) as self._lock:
            self._check()
            try:
                yield
            finally:
                self._lock = None

    def check_held(self) -> None:
        """Check that this process still holds the folder; see `RunLock.check` for the error."""
        if self._lock is not None:
            self._lock.check()

    def begin(self) -> None:
        """Make the folder with its recipe, unless an earlier session did."""
        if not (self.path / "run.toml").exists():
            kept = replace(self._run, accept_changed_data=False)
            write_whole(self.path / "run.toml", recipe.dumps(kept).encode())

    @property
    def checkpoint(self) -> Path:
        """Path of the last checkpoint."""
        return self.path / "checkpoint" / "last.pt"

    @property
    def best(self) -> Path:
        """Where the checkpoint of the best evaluation is, if --keep-best asks for it."""
        return self.checkpoint.with_name("best.pt")

    @property
    def finished(self) -> bool:
        """Whether an earlier session finished the run.

        Raises
        ------
        RunError
            When the folder's ledger can't be read, or doesn't say.
        """
        path = self.path / "ledger.json"
        if not path.exists():
            return False
        finished = _read(path, json.loads).get("finished")
        if not isinstance(finished, bool):
            raise _damaged(path, f"its finished is {finished!r}")
        return finished

    @property
    def environment(self) -> dict[str, Any]:
        """Return the contents of environment.json; empty if there is none.

        Raises
        ------
        RunError
            When it can't be read.
        """
        path = self.path / "environment.json"
        return _read(path, json.loads) if path.exists() else {}

    def read(self, name: str) -> Any:
        """Return the object in a JSON file, or a .jsonl file's lines as far as they can be read.

        Raises
        ------
        RunError
            When it can't be read.
        """
        return self.lines(name)[0] if name.endswith(".jsonl") else _read(self.path / name, json.loads)

    def lines(self, name: str) -> tuple[list[dict[str, Any]], int]:
        """Return the lines of a .jsonl file without an unfinished last one, and how many can't be read.

        Raises
        ------
        RunError
            When the file can't be read.
        """
        try:
            lines = _lines(read_text(self.path / name, errors="surrogateescape"))
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise _damaged(self.path / name, str(error)) from None
        return [line for line in lines if line is not None], lines.count(None)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON object with the schema's number."""
        text = dumps({"schema": SCHEMA, **content}, indent=2)
        write_whole(self.path / name, (text + "\n").encode())

    def append(self, name: str, line: Mapping[str, Any]) -> None:
        """Append a line to a .jsonl file.

        Raises
        ------
        RunError
            When it can't be written, as on a full disk.
        """
        path = self.path / name
        try:
            with path.open("a") as file:
                file.write(dumps(line) + "\n")
        except OSError as error:
            raise RunError(
                f"{path} can't be written: {error.strerror or error}; once it can, the same command goes "
                "on from the last checkpoint"
            ) from None

    def rewind(self, logged: int, evaluated: int) -> int:
        """Drop the lines that a resumed run will write again, and lines that a kill left unfinished.

        Parameters
        ----------
        logged, evaluated
            Step of the last line that steps.jsonl, and evaluations.jsonl, held when the checkpoint was
            written. Later lines are made again, those of the checkpoint's own step among them.

        Returns
        -------
        int
            How many lines can't be read, and are dropped too: a disk that lost power may leave such.
        """
        broken = 0
        for name, step in (("steps.jsonl", logged), ("evaluations.jsonl", evaluated)):
            if (self.path / name).exists():
                lines, unreadable = self.lines(name)
                kept = [line for line in lines if line["step"] <= step]
                broken += unreadable
                write_whole(self.path / name, "".join(dumps(line) + "\n" for line in kept).encode())
        return broken


def _check_kind(path: Path, fits: Callable[[int], bool], kind: str) -> None:
    mode = _mode(path)
    if mode is not None and not fits(mode):
        raise RunError(f"{path} must be a {kind}, and isn't: move it away, or give another --name")


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return path.lstat().st_mode
        raise RunError(
            f"a run's folder must be one that may be looked into; {path} can't be looked at "
            f"({error.strerror or error}): mend that, or give another --name"
        ) from None


def _lines(content: str) -> list[dict[str, Any] | None]:
    """Return the complete lines of a .jsonl file; None for each that isn't ours."""
    lines: list[dict[str, Any] | None] = []
    # Not by `splitlines`, for which strings may hold ends of lines.
    for text in content.split("\n")[:-1]:
        try:
            text.encode()
            line = parsed(json.loads, text)
        except ValueError:
            line = None
        sound = isinstance(line, dict) and all(isinstance(line.get(key), int) for key in ("step", "round"))
        lines.append(line if sound else None)
    return lines


def _read(path: Path, loads: Callable[[str], Any]) -> dict[str, Any]:
    """Return a table that an earlier session wrote."""
    try:
        content = parsed(loads, read_text(path))
    except (ValueError, OSError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise _damaged(path, f"it holds a {type(content).__name__}")
    return content


def _damaged(path: Path, fault: str) -> RunError:
    return RunError(
        f"{path} must be as `trainer run` wrote it; {fault}: move the folder away, or give another --name"
    )


def folder_name(run: config.Run) -> str:
    """Return the run's name, or one made of its main settings and a digest of all settings.

    Raises
    ------
    RunError
        When the recipe's name leads to another folder, or the parts' names are too long together.
    """
    if run.name is not None:
        return run.name
    rules.check_folder_name("recipe", run.recipe)
    augmentation, sampler = SLOTS["augment"].named(run, "+"), SLOTS["sampler"].named(run)
    digest = comparison.digest(run)[:6]
    selection = SLOTS["selection"].named(run)
    if selection != SLOTS["selection"].default:
        sampler = f"{sampler}-{selection}"
    budget = f"b{run.budget:g}" if run.budget_hours is None else f"h{run.budget_hours:g}"
    name = f"{run.recipe}-{sampler}-{augmentation}-{budget}-s{run.seed}-{digest}"
    rules.check_folder_name("the name made of the run's parts", name)
    return name
