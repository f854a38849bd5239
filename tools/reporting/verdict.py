"""What a run cost and bought: tiles for one run, tables for several."""

from __future__ import annotations

import statistics

from tools.reporting.figures import SERIES
from tools.reporting.folder import RunRecord
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Child, Safe, el, join, table
from tools.reporting.samples import spread
from tools.reporting.wording import NONE, budget, count, duration, matched, percent, points, ratio


def tiles(run: RunRecord) -> Safe:
    """One run's key figures."""
    trained, full, scored = run.number("trained"), run.number("full_budget_samples"), run.number("scored")
    share = percent(trained / full) if trained is not None and full else NONE
    charged = percent(run.compute / full) if run.compute is not None and full else NONE
    evenness = None if run.samples is None else spread(run.samples)
    entropy = NONE if evenness is None else f"{evenness.entropy:.3f}"
    nats = "nats" if evenness is None else f"nats, at most {evenness.highest_entropy:.3f}"
    with_evaluation = f"{duration(run.number('wall_seconds'))} with evaluation"
    figures: list[tuple[str, str, str]] = [
        ("Accuracy", percent(run.accuracy, 2), "of the last round" if run.finished else "so far, unfinished"),
        ("Trained samples", count(trained), f"{share} of the full budget"),
        (
            "Compute",
            charged,
            f"with {count(scored)} scored charged" if scored else "nothing scored to charge",
        ),
        ("Training time", duration(run.number("train_seconds")), with_evaluation),
        ("Rate", count(run.rate), "images a second"),
        ("Stall", percent(run.number("stall")), "of that spent waiting for data"),
        ("Entropy of counts", entropy, nats),
        ("Parameters", count(run.number("parameters")), "trainable"),
    ]
    return el(
        "dl",
        [
            el("div", el("dt", name), el("dd", value), el("dd", gloss, class_="gloss"))
            for name, value, gloss in figures
        ],
        class_="tiles",
    )


def swatch(colour: int) -> Safe:
    """A piece of the line that stands for a run in the plots."""
    dashes = {0: None, 1: "6 3", 2: "2 2"}[colour // SERIES % 3]
    line = el(
        "line", x1="1", x2="23", y1="6", y2="6", stroke_dasharray=dashes, class_=f"run-{colour % SERIES}"
    )
    return el("svg", line, class_="swatch", viewBox="0 0 24 12", aria_hidden="true")


def legend(lineup: Lineup) -> Safe:
    """Which line is which run, for all plots of the page; repeats of a run share a line's look."""
    items = []
    for group in lineup.groups:
        times = f", {len(group.entries)} seeds" if len(group.entries) > 1 else None
        items.append(el("li", swatch(group.entries[0].colour), " ", group.label, times))
    return el("ul", items, class_="legend")


def comparison(lineup: Lineup) -> Safe:
    """Every run's cost and result, each beside its ratio to the first run's."""
    first = lineup.entries[0].run
    rows: list[list[Child]] = []
    for index, entry in enumerate(lineup):
        run, other = entry.run, index > 0
        full, compute, trained = run.number("full_budget_samples"), run.compute, run.number("trained")
        clock = run.number("train_seconds")
        charged = percent(compute / full) if compute is not None and full else NONE
        state = None if run.finished else el("span", "unfinished", class_="tag")
        rows.append(
            [
                join(swatch(entry.colour), " ", entry.label, " ", state),
                _pair(percent(run.accuracy, 2), points(run.accuracy, first.accuracy), other),
                _pair(count(trained), ratio(trained, first.number("trained")), other),
                _pair(charged, ratio(compute, first.compute), other),
                _pair(duration(clock), ratio(clock, first.number("train_seconds")), other),
                _pair(count(run.rate), ratio(run.rate, first.rate), other),
                percent(run.number("stall")),
            ]
        )
    head = ["Run", "Accuracy", "Trained samples", "Compute", "Training time", "Images/s", "Stall"]
    caption = "Last round of each run; in small, points of accuracy and ratios against the first run"
    return table(head, rows, caption, class_="comparison")


def _pair(value: str, against: str, other: bool) -> Child:
    return join(value, el("span", against, class_="against")) if other and against != NONE else value


def matching(lineup: Lineup) -> list[str]:
    """Whether the runs may be compared: on trained samples, on compute, on time."""
    runs = [entry.run for entry in lineup]
    sizes = [size for run in runs if isinstance(size := run.recipe.get("batch_size"), int)]
    trained = [run.number("trained") for run in runs]
    compute = [run.compute for run in runs]
    said = []
    if matched(trained, max(sizes, default=1)):
        said.append(f"Trained samples match: {count(trained[0])} in each run, to within a batch.")
    else:
        said.append(
            "Trained samples do not match, so part of any difference in accuracy is a difference in training."
        )
    if None in compute:
        said.append("Compute is not known for every run, for lack of a ledger or of scoring's measured cost.")
    elif matched(compute, 0.01 * max(value for value in compute if value is not None)):
        said.append("Compute matches to within 1%, scored samples charged at their measured cost.")
    else:
        said.append("Compute does not match once scored samples are charged at their measured cost.")
    keys = ("cpu", "gpu", "device", "cores", "threads")
    if len({tuple(str(run.environment.get(key)) for key in keys) for run in runs}) > 1:
        said.append("Times do not compare: the runs were made on different machines, devices or threads.")
    if not all(run.finished for run in runs):
        said.append(
            "An unfinished run has not come to its learning rate's floor; its accuracy is provisional."
        )
    return said


def seeds(lineup: Lineup) -> Safe | None:
    """Mean and standard deviation over runs that differ in their seeds alone; None where there are none."""
    groups = [group for group in lineup.groups if group.mean is not None]
    if not any(group.deviation is not None for group in groups):
        return None
    rows = []
    for group in groups:
        finished = [entry.run for entry in group.entries if entry.run.finished]
        times = [seconds for run in finished if (seconds := run.number("train_seconds")) is not None]
        rows.append(
            [
                group.label,
                str(len(group.accuracies)),
                percent(group.mean, 2),
                NONE if group.deviation is None else f"{100 * group.deviation:.2f}",
                duration(statistics.fmean(times)) if times else NONE,
            ]
        )
    head = ["Settings", "Runs", "Mean accuracy", "Standard deviation, points", "Mean training time"]
    return table(head, rows, "Finished runs that differ in nothing but their seeds")


def unfinished(run: RunRecord) -> str:
    """How far an unfinished run came."""
    trained, planned = run.number("trained"), run.number("planned")
    if trained is None:
        return "This run is unfinished: it has logged no step yet."
    far = f" of {count(planned)} ({percent(trained / planned)})" if planned else ""
    steps, share = run.number("steps"), budget(run.number("budget"))
    at = f" after step {count(steps)}" if steps is not None else ""
    return (
        f"This run is unfinished: {count(trained)}{far} samples of its budget of {share} are trained{at}. "
        "Its learning rate has not come to its floor, so its accuracy is provisional."
    )


def not_last(run: RunRecord) -> str | None:
    """Say so where a finished run's last evaluation is not of its last step."""
    evaluated, steps = run.evaluations.last("step"), run.number("steps")
    if evaluated is None or steps is None or evaluated >= steps:
        return None
    return (
        f"The last evaluation was made at step {count(evaluated)} of {count(steps)}: "
        "the accuracy is not that of the last round."
    )
