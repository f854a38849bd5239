"""The report page: one self-contained HTML document for one run or for several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools.reporting import (
    accounts,
    bars,
    curves,
    headline,
    importance,
    pictures,
    reaching,
    settings,
    speedup,
    stages,
    variety,
    verdict,
    weights,
    wording,
)
from tools.reporting.document import document, section
from tools.reporting.lineup import Lineup, line_up
from tools.reporting.markup import Safe, details, el, join, table
from tools.reporting.matching import matching
from tools.reporting.metrics import heading
from tools.reporting.record import RunRecord
from tools.reporting.wording import NONE, listed, percent

PROFILE = "profile.html"
"""The page of recorded steps, in a run folder."""


def page(runs: Sequence[RunRecord]) -> str:
    """Return the report of ``runs``; the others are compared with the first."""
    lineup = line_up(runs)
    several = lineup.several
    summary = headline.comparison(lineup) if several else headline.headline(runs[0])
    subject = _subject(lineup)
    return document(
        f"{summary} {subject}",
        el("header", el("p", subject, class_="kicker"), el("h1", summary)),
        _notices(lineup),
        [_comparison(lineup), _settings(lineup), verdict.legend(lineup)]
        if several
        else verdict.tiles(runs[0]),
        _results(lineup),
        section("Loss and learning rate", curves.training(lineup) or el("p", "No step is recorded.")),
        _ledger(lineup),
        _resolutions(lineup),
        _samples(lineup),
        _importance(lineup),
        None if several else _settings(lineup),
        _environment(lineup),
        _reading(),
    )


def _subject(lineup: Lineup) -> str:
    """Return the main settings that the runs have in common."""
    shared = []
    for key in ("data", "model", "sampler", "selection", "augment", "resolution"):
        values = {entry.recipe.get(key) for entry in lineup}
        if len(values) == 1 and (value := values.pop()) is not None and (key, value) not in settings.UNSAID:
            shared.append(value)
    return " · ".join([*shared, f"{len(lineup)} runs"] if lineup.several else shared)


def _notices(lineup: Lineup) -> Safe | None:
    """Return notes on unfinished and on collapsed runs, and on missing or damaged files."""
    said: list[Safe] = []
    for entry in lineup:
        whose = join(el("b", entry.label), ": ") if lineup.several else None
        if not entry.run.finished:
            said.append(el("p", whose, verdict.unfinished(entry.run)))
        elif (late := verdict.not_last(entry.run)) is not None:
            said.append(el("p", whose, late))
        if (collapse := verdict.collapsed(entry.run)) is not None:
            said.append(el("p", whose, collapse))
        if entry.run.faults:
            said.append(el("p", whose, f"The run folder is not complete: {listed(entry.run.faults)}."))
    return el("aside", said, class_="notice") if said else None


def _comparison(lineup: Lineup) -> Safe:
    return section(
        "Cost and result of each run",
        verdict.comparison(lineup),
        el("ul", [el("li", line) for line in matching(lineup)], class_="notes"),
        [
            [verdict.seeds(alike), reaching.reaching(alike), speedup.speedups(alike)]
            for alike in lineup.by_metric()
        ],
    )


def _results(lineup: Lineup) -> Safe:
    """Plot each primary metric over training."""
    drawn = [curves.results(alike) for alike in lineup.by_metric()]
    title = heading(lineup.metric) if lineup.comparable else "Primary metrics"
    return section(title, drawn if any(drawn) else el("p", "No evaluation is recorded."))


def _ledger(lineup: Lineup) -> Safe:
    drawn = bars.ledger(lineup)
    if drawn is None:
        return section("Where the time went", el("p", "No ledger is recorded."))
    stalls = [stall for entry in lineup if (stall := entry.run.number("stall")) is not None]
    said = "Stall, the fraction of the training clock in which training waited for data: "
    said += f"{wording.span(stalls, percent) if stalls else 'not recorded'}."
    beside = el("div", drawn.table, accounts.accounts(lineup), class_="beside")
    return section("Where the time went", el("p", said), drawn.bars, drawn.note, beside, _profiles(lineup))


def _profiles(lineup: Lineup) -> Safe | None:
    """Return links to the pages of steps that were recorded in these runs."""
    there = [entry for entry in lineup if (entry.run.path / PROFILE).exists()]
    if not there:
        return None
    if not lineup.several:
        return el("p", "Some steps were recorded: ", el("a", PROFILE, href=PROFILE), ".")
    links = [
        join(" ", el("a", entry.label, href=(entry.run.path / PROFILE).resolve().as_uri())) for entry in there
    ]
    return el("p", "Some steps were recorded:", links, ".")


def _resolutions(lineup: Lineup) -> Safe | None:
    tables = stages.resolutions(lineup)
    return section("At which resolution", el("div", tables, class_="beside packed")) if tables else None


def _samples(lineup: Lineup) -> Safe:
    shown = variety.recorded(lineup)
    entropy = curves.variety(lineup)
    if not shown:
        said = el("p", "No per-sample record is there.")
        return section("Which samples were trained on", said, el("div", entropy, class_="pair"))
    return section(
        "Which samples were trained on",
        el("div", variety.times_seen(shown), variety.classes(shown), entropy, class_="pair"),
        variety.entropies(shown),
    )


def _importance(lineup: Lineup) -> Safe | None:
    groups, samples, left_out = importance.weighted(lineup)
    if samples is None:
        return None
    return section(
        "Which samples are important",
        weights.classes(groups, samples),
        weights.correlations(groups),
        el("div", weights.by_rank(groups), class_="pair"),
        weights.left_out(left_out),
        pictures.extremes(lineup),
    )


def _settings(lineup: Lineup) -> Safe:
    """Return all settings of one run, or of several first those that differ."""
    tables = [entry.recipe for entry in lineup]
    if lineup.several:
        return section("Settings that differ", _split(lineup, tables, "settings"))
    return section("Settings", _list(tables[0], tables[0]))


def _environment(lineup: Lineup) -> Safe:
    tables = [_facts(entry.run.environment) for entry in lineup]
    commands = [
        join(
            el("p", entry.label, class_="bar-label") if lineup.several else None,
            _command(entry.run.environment.get("command")),
        )
        for entry in lineup
    ]
    folders = listed([str(entry.run.path) for entry in lineup])
    return section(
        "Environment and command",
        _split(lineup, tables, "facts") if lineup.several else _list(tables[0], tables[0]),
        commands,
        el("p", f"Run folder: {folders}", class_="note"),
    )


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return one line per entry, also of nested ones, such as the digests of training and test set."""
    facts: dict[str, str] = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            facts.update(_facts({f"{key}.{name}": inner for name, inner in value.items()}))
        elif key not in ("schema", "command", "metrics"):
            facts[key] = NONE if value is None else str(value)
    return facts


def _command(command: object) -> Safe:
    """Return a command that wraps only between its words."""
    if not isinstance(command, str):
        return el("p", "The command is not recorded.")
    words = [join(" " if i else None, el("span", word)) for i, word in enumerate(command.split(" "))]
    return el("pre", el("code", words))


def _list(table_: Mapping[str, str], keys: Iterable[str]) -> Safe:
    return el("dl", [el("div", el("dt", key), el("dd", table_[key])) for key in keys], class_="settings")


def _split(lineup: Lineup, tables: Sequence[Mapping[str, str]], what: str) -> list[Safe]:
    """Return the settings that differ among the runs as a table, with the common ones folded away."""
    different, common = settings.split(tables)
    if different:
        rows = [[key, *(values.get(key, NONE) for values in tables)] for key in different]
        head = ["", *(entry.label for entry in lineup)]
        shown = [table(head, rows, f"The {what} that differ", class_="words", hide_caption=True)]
    else:
        shown = [el("p", f"All {what} are the same.")]
    if common:
        shown.append(details(f"{len(common)} {what} in common", _list(tables[0], common)))
    return shown


def _reading() -> Safe:
    """Return the section that explains the figures and their limits."""
    lines = (
        "A metric is that of the last round, on the test set; never the best of several rounds. Where a "
        "maximum or minimum over rounds is shown, as published tables have it, it is called so.",
        "The full training is N samples times T epochs, at full resolution; a budget is a fraction of it, "
        "and the learning rate's schedule ends with it. A budget counts samples trained, compute, or hours.",
        "Trained samples count forward and backward passes, at whatever resolution, and take scoring as "
        "free: the papers' accounting. Compute counts every pass in training steps at full resolution: "
        "training at another resolution by the network's FLOPs, scoring by the cost measured on this device, "
        "or by FLOPs if it wasn't measured.",
        "Comparisons matched in trained samples ask which samples to train on; comparisons matched in "
        "compute ask what to spend computing on. A method that scores can win the first and lose the second.",
        "FLOPs are those of the network's layers as torch counts them, over a whole step of the method; a "
        "supervised step is three forward passes, as a backward pass takes two. Publications count "
        "otherwise, some a backward pass as one forward pass, some multiply-adds as one operation: compare "
        "ratios, not FLOPs.",
        "The training clock leaves out evaluation, checkpoints and compilation; stall is the fraction of it "
        "spent waiting for data.",
        "One run says little about a difference between methods: repeat it with other seeds and look at "
        "the spread.",
        "H(c) is the entropy of the counts of how often each sample was trained on, taken as a distribution.",
        "A sample's weight is the w that sample_importance takes once, at the end of its first E epochs: by "
        "default (1 - p)^gamma, p being the probability of the sample's class when it was last trained on.",
    )
    return section("How to read this", el("ul", [el("li", line) for line in lines], class_="notes"))
