"""Fair comparisons between runs: at equal trained samples, at equal compute, on one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.reporting.lineup import Entry, Lineup
from tools.reporting.metrics import direction
from tools.reporting.record import RunRecord
from tools.reporting.wording import count, listed, percent

COMPUTE_TOLERANCE = 0.02
"""Maximum relative difference in compute, of the lesser, of runs matched in compute."""

HOURS_TOLERANCE = 0.05
"""Runs whose training time differs by more, of the lesser, are not matched in hours."""

OPEN, CLOSE = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"

MACHINE = ("cpu", "gpu", "device", "cores", "threads")
"""Facts of a run's environment that its times depend on."""


def matching(lineup: Lineup) -> list[str]:
    """Return sentences on which comparisons are fair, and on the limits of the others."""
    runs = [entry.run for entry in lineup]
    said = [*_metrics(lineup), _trained(lineup), _compute(lineup), *_dearer(lineup)]
    if len({tuple(str(run.environment.get(key)) for key in MACHINE) for run in runs}) > 1:
        said.append("Times do not compare: the runs were made on different machines, devices or threads.")
    if not all(run.finished for run in runs):
        said.append(
            "An unfinished run has not come to its learning rate's floor; "
            f"{_label(lineup)} is provisional there."
        )
    return said


def _label(lineup: Lineup) -> str:
    return lineup.metric.label if lineup.comparable else "the primary metric"


def _metrics(lineup: Lineup) -> list[str]:
    """Return a note that results don't compare if runs have different primary metrics."""
    if lineup.comparable:
        return []
    named = [
        f"{alike.metric.label} ({direction(alike.metric)}) in {listed([_name(entry) for entry in alike])}"
        for alike in lineup.by_metric()
    ]
    return [f"Results do not compare between runs of different primary metrics: {'; '.join(named)}."]


def matched(
    entries: Sequence[Entry], value: Callable[[RunRecord], float | None], tolerance: Callable[[float], float]
) -> list[list[Entry]]:
    """Group runs by a figure that all of them have: each is within ``tolerance(least)`` of its group's least.

    Groups, and the runs in each, are in the order of the figure, then of the page.
    """
    known = sorted((value(entry.run) or 0.0, index) for index, entry in enumerate(entries))
    groups: list[list[Entry]] = []
    least = 0.0
    for amount, index in known:
        if not groups or amount > least + tolerance(least):
            groups.append([])
            least = amount
        groups[-1].append(entries[index])
    return groups


def _by_trained(entries: Sequence[Entry]) -> list[list[Entry]]:
    sizes = [size for entry in entries if isinstance(size := entry.run.recipe.get("batch_size"), int)]
    return matched(entries, _number_trained, lambda _: max(sizes, default=1))


def _by_compute(entries: Sequence[Entry]) -> list[list[Entry]]:
    return matched(entries, _computed, lambda least: COMPUTE_TOLERANCE * least)


def _trained(lineup: Lineup) -> str:
    if any(_number_trained(entry.run) is None for entry in lineup):
        return "How many samples were trained is not known for every run."
    groups = _by_trained(lineup.entries)
    if len(groups) == 1:
        each = count(_number_trained(lineup.entries[0].run))
        return f"Matched in trained samples: {each} in each run, to within a batch."
    return _grouped("trained samples", groups, lambda run: count(_number_trained(run)))


def _compute(lineup: Lineup) -> str:
    if any(_computed(entry.run) is None for entry in lineup):
        return "Compute is not known for every run, for lack of a ledger or of scoring's measured cost."
    groups = _by_compute(lineup.entries)
    if len(groups) == 1:
        return f"Matched in compute, scoring included, to within {percent(COMPUTE_TOLERANCE, 0)}."
    return _grouped(
        "compute, scoring included", groups, lambda run: percent(run.fraction_of_full(_computed(run)))
    )


def _grouped(what: str, groups: Sequence[Sequence[Entry]], say: Callable[[RunRecord], str]) -> str:
    named = [
        (len(group), f"{listed([_name(one) for one in group])} ({say(group[0].run)})") for group in groups
    ]
    told = [names for size, names in named if size > 1]
    alone = [name for size, name in named if size == 1]
    if not told:
        return f"No two runs are matched in {what}: {listed(alone)}."
    rest = f"; {listed(alone)} {'are' if len(alone) > 1 else 'is'} not" if alone else ""
    return f"Matched in {what}: {'; '.join(told)}{rest}."


def _name(entry: Entry) -> str:
    """Return the run's label, in quotation marks if it has a comma."""
    return f"{OPEN}{entry.label}{CLOSE}" if "," in entry.label else entry.label


def _dearer(lineup: Lineup) -> list[str]:
    """Return a note on runs that took more compute than others with as many trained samples."""
    if any(_number_trained(entry.run) is None or not _computed(entry.run) for entry in lineup):
        return []
    said = []
    for group in _by_trained(lineup.entries):
        classes = _by_compute(group)
        least = classes[0][0]
        base = _computed(least.run) or 1.0
        more = [
            f"{_name(entry)} took {percent((_computed(entry.run) or 0.0) / base - 1)} more"
            for dearer in classes[1:]
            for entry in dearer
        ]
        if more:
            said.append(
                f"At equal trained samples compute differs: beside {_name(least)}, {listed(more)}. Whatever "
                f"this gains in {_label(lineup)} is gained with more computing."
            )
    return said


def _number_trained(run: RunRecord) -> float | None:
    return run.number("trained")


def _computed(run: RunRecord) -> float | None:
    return run.compute
