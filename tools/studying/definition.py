"""A study's file: what is varied, what is compared with what, and how often it is repeated."""

from __future__ import annotations

import hashlib
import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.text import parsed, read_text
from tools.studying.choosing import Choose, read_choose
from tools.studying.grid import Arm, Axis, Matcher, arms, read_axes, read_matchers
from tools.studying.published import Published, read_published
from tools.studying.subset import Subset, read_subset
from trainer.errors import RunError
from trainer.settings import rules

FOLDER = Path(__file__).parents[1] / "studies"
"""Studies that come along."""

KEYS = (
    *("title", "recipe", "seeds", "settings", "grid", "exclude", "override", "first"),
    *("baseline", "test", "target", "choose", "data", "published"),
)

Test = Literal["t", "sign_flip"]
TESTS: tuple[Test, ...] = ("t", "sign_flip")


@dataclass(frozen=True, slots=True)
class Study:
    """A study as its file defines it.

    Attributes
    ----------
    path, digest
        Of the file; its SHA-256 in hexadecimal.
    name
        Its stem, which names the folder of the study's runs.
    title
        The question, in a sentence.
    recipe
        Name or path of the recipe that all cells begin with.
    settings
        Overrides of the recipe for all cells.
    seeds
        One run per arm and seed; the number is fixed before the first run.
    axes, arms
        What is varied; the arms in the order in which they are run.
    first
        Arms to run first, with all seeds; those of the first matcher before those of the second.
    baselines
        Labels to compare with: an arm's counterpart has these, and its own labels on all other axes.
    test
        How significance is tested.
    target
        Value of the primary metric to reach; None takes the counterpart's mean result.
    choose
        How settings are chosen before the runs; None where nothing is chosen.
    subsets
        Data sets that the study makes from others, by name.
    published
        Results that a paper printed for its arms; None without.
    """

    path: Path
    digest: str
    name: str
    title: str
    recipe: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    axes: tuple[Axis, ...]
    arms: tuple[Arm, ...]
    first: tuple[Matcher, ...]
    baselines: tuple[Mapping[str, str], ...]
    test: Test
    target: float | None
    choose: Choose | None
    subsets: Mapping[str, Subset]
    published: Published | None

    @property
    def typed(self) -> str:
        """The study as it is named on a command line."""
        return self.name if self.path.parent == FOLDER else str(self.path)

    def counterpart(self, arm: Arm, baseline: Mapping[str, str]) -> Arm | None:
        """Return the arm that ``arm`` is compared with; None for the baseline itself, or if there is none."""
        labels = {**arm.labels, **baseline}
        if labels == dict(arm.labels):
            return None
        return next((other for other in self.arms if dict(other.labels) == labels), None)


def studies() -> dict[str, Path]:
    """Return the studies that come along, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


PROGRAMS = {"spirals": "tools.spirals.study"}
"""Studies that are no grids of runs, by name: modules whose `run` takes a folder and a console."""


def read_study(named: str) -> Study:
    """Read a study's file by its path, or by the name of one that comes along.

    Raises
    ------
    RunError
        If there is no such study, it isn't TOML, or it has an unknown, missing or contradictory entry.
    """
    path = Path(named)
    if not path.is_file():
        path = studies().get(path.stem if path.name == named else named, path)
    if not path.is_file():
        known = ", ".join(sorted({*studies(), *PROGRAMS}))
        raise RunError(f"a study must be the path of a .toml or one of {known}; got {named!r}")
    try:
        text = read_text(path)
        table = parsed(tomllib.loads, text)
    except (ValueError, OSError) as error:
        raise RunError(f"{path} must be TOML; {error}") from None
    rules.check_folder_name("a study's file", path.stem)
    return _study(path, hashlib.sha256(text.encode()).hexdigest(), table)


def _study(path: Path, digest: str, table: Mapping[str, Any]) -> Study:
    where = path.name
    for key in table:
        if key not in KEYS:
            raise RunError(f"{where}: a study's key must be one of {', '.join(KEYS)}; got {key!r}")
    settings = _table(table, "settings", where)
    axes = read_axes(table.get("grid"), where)
    first = read_matchers(table.get("first"), axes, f"{where}: first")
    made = arms(
        axes,
        read_matchers(table.get("exclude"), axes, f"{where}: exclude"),
        _overrides(table.get("override", []), axes, f"{where}: override"),
        first,
        where,
    )
    test = table.get("test", TESTS[0])
    if test not in TESTS:
        raise RunError(f"{where}: test must be one of {', '.join(TESTS)}; got {test!r}")
    subsets = {
        name: read_subset(name, entry, f"{where}: data.{name}")
        for name, entry in _table(table, "data", where).items()
    }
    return Study(
        path=path,
        digest=digest,
        name=path.stem,
        title=str(table.get("title", path.stem)),
        recipe=_recipe(table.get("recipe"), path),
        settings=settings,
        seeds=_seeds(table.get("seeds"), where),
        axes=axes,
        arms=made,
        first=first,
        baselines=_baselines(table.get("baseline"), axes, made, f"{where}: baseline"),
        test=test,
        target=_target(table.get("target"), where),
        choose=None if "choose" not in table else read_choose(table["choose"], axes, f"{where}: choose"),
        subsets=subsets,
        published=None
        if "published" not in table
        else read_published(table["published"], axes, made, f"{where}: published"),
    )


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise RunError(f"{where}: {key} must be a table; got {value!r}: write [{key}]")
    return value


def _recipe(value: Any, path: Path) -> str:
    """Return a recipe's name, or the path of one that stands beside the study's file."""
    if not isinstance(value, str):
        raise RunError(f'{path.name}: a study must name its recipe; got {value!r}: write recipe = "NAME"')
    beside = path.parent / value
    return str(beside) if value.endswith(".toml") and beside.is_file() else value


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise RunError(f"{where}: seeds must be a list of whole numbers; got {value!r}: write [0, 1, 2], say")
    for seed in value:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise RunError(
                f"{where}: seeds must be whole numbers of at least 0 and below 2**32; got {seed!r}"
            )
    doubled = next((seed for seed in value if value.count(seed) > 1), None)
    if doubled is not None:
        raise RunError(f"{where}: seeds must differ; got {doubled} twice: leave one out")
    return tuple(value)


def _target(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RunError(
            f"{where}: target must be a value of the primary metric, as 0.62 for 62% accuracy; got {value!r}"
        )
    return float(value)


def _overrides(
    tables: Any, axes: Sequence[Axis], where: str
) -> tuple[tuple[Matcher, Mapping[str, Any]], ...]:
    if not isinstance(tables, list):
        raise RunError(f"{where} must be a list of tables; got {tables!r}: write [[override]]")
    found = []
    for table in tables:
        if not isinstance(table, Mapping) or set(table) != {"where", "set"} or not table["set"]:
            raise RunError(
                f"{where} must have where and set, as where = {{ {axes[0].name} = ... }} and set = "
                f'{{ "optimizer.lr" = 0.1 }}; got {dict(table) if isinstance(table, Mapping) else table!r}'
            )
        (matcher,) = read_matchers(table["where"], axes, where)
        found.append((matcher, table["set"]))
    return tuple(found)


def _baselines(
    tables: Any, axes: Sequence[Axis], made: Sequence[Arm], where: str
) -> tuple[Mapping[str, str], ...]:
    found = []
    for matcher in read_matchers(tables, axes, where):
        many = next((axis for axis, labels in matcher.items() if len(labels) > 1), None)
        if many is not None:
            raise RunError(f"{where}: {many} must be one label; got {', '.join(matcher[many])}: choose one")
        labels = {axis: labels[0] for axis, labels in matcher.items()}
        pairs = [arm for arm in made if {**arm.labels, **labels} != dict(arm.labels)]
        if not any({**arm.labels, **labels} == dict(other.labels) for arm in pairs for other in made):
            named = ", ".join(f"{axis} {label}" for axis, label in labels.items())
            raise RunError(f"{where} must be the counterpart of a cell; {named} is of none: name another")
        found.append(labels)
    for one, other in itertools.combinations(found, 2):
        if one == other:
            raise RunError(f"{where} must name each baseline once; got {one} twice: leave one out")
    return tuple(found)
