"""The memory of a study between its sessions, study.json in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.text import parsed, read_text
from tools.studying.definition import Study
from trainer.errors import RunError

SCHEMA = 1
FILE = "study.json"


@dataclass(slots=True)
class State:
    """Facts fixed before a study's first run, and those that no run folder holds.

    Attributes
    ----------
    begun
        When its first run was started.
    seeds
        As they were then.
    arms
        Names of the arms as they were then.
    definition
        SHA-256 of the study's file then.
    diverged
        The error by cell, of runs that diverged; they count, and are not run again.
    bytes
        Peak memory by cell, of runs that have finished.
    """

    begun: str
    seeds: list[int]
    arms: list[str]
    definition: str
    diverged: dict[str, str] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    @property
    def peak(self) -> int | None:
        """The most memory that a run took; None where none was measured."""
        return max(self.bytes.values(), default=None)

    def save(self, folder: Path) -> None:
        """Write study.json, whole or not at all."""
        write_whole(folder / FILE, (dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n").encode())


def load_state(study: Study, folder: Path) -> State:
    """Read a study's state, or begin one.

    Raises
    ------
    RunError
        If it can't be read, is of a newer schema, or the study had other seeds before its first run.
    """
    path = folder / FILE
    if not path.exists():
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return State(now, list(study.seeds), [arm.name for arm in study.arms], study.digest)
    try:
        content: Any = parsed(json.loads, read_text(path))
        schema = content.pop("schema")
        state = State(**content)
    except (ValueError, OSError, TypeError, AttributeError, KeyError) as error:
        raise RunError(f"{path} must be as `trainer study` wrote it; {error}: move it away") from None
    if schema != SCHEMA:
        raise RunError(f"{path} must be of schema {SCHEMA}; got {schema}: update budgetrain")
    if tuple(state.seeds) != study.seeds:
        raise RunError(
            f"{study.path.name}: seeds must stay as they were before the first run ({state.begun}), "
            f"{_listed(state.seeds)}; got {_listed(study.seeds)}: restore them, or give the study another "
            "name"
        )
    return state


def _listed(seeds: Sequence[int]) -> str:
    return f"[{', '.join(map(str, seeds))}]"


def added(state: State, study: Study) -> list[str]:
    """Return the names of arms that the study's file has been given since the first run."""
    return [arm.name for arm in study.arms if arm.name not in state.arms]


def dropped(state: State, study: Study) -> list[str]:
    """Return the names of arms that the study's file had before the first run and has no more."""
    names = {arm.name for arm in study.arms}
    return [name for name in state.arms if name not in names]
