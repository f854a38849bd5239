"""The bound of anybody's loop, from its waiting and its loader's spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.reporting.wording import percent

SHOWN = 12
"""Steps of a timeline."""

SLOWEST = 5
"""Slowest steps that are shown with what they did."""

WAITS = 0.1
"""Part of the time spent waiting for batches from which on the loader is the bound."""

_WORK = {
    "read": "reading and decoding images",
    "draw": "drawing the augmentation's random numbers",
    "place": "putting batches together",
}
"""A loader's stages."""

_OPTIONS = {
    "read": "give the engine more threads (--engine.threads) or keep the set in memory (--engine resident)",
    "draw": "take a shorter chain (--augment)",
    "place": "read smaller images or keep the set on the device (--engine resident)",
}
"""Remedies of a run by stage, as options to type."""

_SMALLER = "convert smaller images (trainer convert --square)"

_ARGUMENTS = {
    "read": {
        "resident": _SMALLER,
        "ffcv": "give the engine more threads (FfcvEngine(threads=...)) or keep the set in memory "
        "(Loader(engine=ResidentEngine()))",
        "dali": "give the engine more threads (DaliEngine(threads=...)) or keep the set in memory "
        "(Loader(engine=ResidentEngine()))",
        "": "keep the set in memory (Loader(engine=ResidentEngine()))",
    },
    "draw": {"": "give the loader a shorter chain (Loader(augment=...))"},
    "place": {
        "resident": _SMALLER,
        "": "read smaller images or keep the set on the device (Loader(engine=ResidentEngine()))",
    },
}
"""Remedies of a loop of one's own, as arguments in its code, by stage and engine."""


_TRIES = "; `trainer profile run.toml`, of this run's folder, tries what makes it faster"


def completed(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile with the figures that its page needs and that a loop didn't write."""
    made = dict(profile)
    if made["kind"] == "run":
        return made
    if made["kind"] == "loader" and len(made["steps"]) > 1:
        made = _without_first(made)
    made["stall"] = made["wait"] / made["seconds"] if made["seconds"] else 0.0
    # What waits for a loader is the loop, the host.
    lanes = {"consumer": "host"} if made["kind"] == "loader" else {}
    spans = [[lanes.get(lane, lane), *rest] for lane, *rest in made["timeline"]]
    made["sentence"] = _sentence({**made, "timeline": spans})
    made["slowest"] = slowest_of(made["steps"], spans)
    made["timeline"] = some(spans)
    return made


def _without_first(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loop's profile without its first batch, for which the set is opened and kernels compiled."""
    waits = [span for span in profile["timeline"] if span[0] == "consumer"]
    begin = waits[0][3]
    # What was loaded ahead in the meantime stays out, too.
    spans = [span for span in profile["timeline"] if span[2] >= begin]
    loading: dict[str, float] = {}
    for lane, name, since, until, _ in spans:
        if lane == "loader":
            loading[name] = loading.get(name, 0.0) + until - since
    return {
        **profile,
        "first": begin - waits[0][2],
        "batches": len(profile["steps"]),
        "seconds": sum(profile["steps"]),
        "wait": sum(until - since for lane, _, since, until, _ in spans if lane == "consumer"),
        "loading_seconds": loading,
        "timeline": spans,
    }


def some(spans: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the spans of `SHOWN` steps from the middle, from their first moment on.

    Parameters
    ----------
    spans
        Lane, name, begin, end and number each, in seconds.
    """
    numbers = sorted({span[4] for span in spans if span[0] == "host" and span[4] is not None})
    if not numbers:
        return []
    first = numbers[max(0, (len(numbers) - SHOWN) // 2)]
    within = [span for span in spans if span[0] == "host" and first <= (span[4] or 0) < first + SHOWN]
    begin, end = min(span[2] for span in within), max(span[3] for span in within)
    kept = [span for span in spans if span[3] > begin and span[2] < end and span[0] != "consumer"]
    return [
        [lane, name, max(since, begin) - begin, min(until, end) - begin, number]
        for lane, name, since, until, number in kept
    ]


def slowest_of(steps: Sequence[float], spans: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the slowest steps, with their seconds by phase."""
    phases: dict[int, dict[str, float]] = {}
    for lane, name, begin, end, number in spans:
        if lane == "host" and number is not None:
            of_step = phases.setdefault(number, {})
            of_step[name] = of_step.get(name, 0.0) + end - begin
    first = min(phases, default=0)
    rows = [{"seconds": taken, "phases": phases.get(first + index, {})} for index, taken in enumerate(steps)]
    return sorted(rows, key=lambda row: -row["seconds"])[:SLOWEST]  # type: ignore[operator]


def _sentence(profile: Mapping[str, Any]) -> str:
    """Return the bound of a loop, in a sentence."""
    stall = profile["stall"]
    if stall < WAITS:
        of = (
            "The loop is bound by its own work"
            if profile["kind"] == "loader"
            else f"Training is bound by its steps{_longest_phase(profile)}"
        )
        said = f"{of}, not by the loader; it waits for batches {percent(stall)} of the time"
        return f"{said}{_TRIES if profile['kind'] == 'steps' else ''}."
    stages = _loader_seconds(profile)
    if not stages:
        return f"Training waits for batches {percent(stall)} of the time."
    name = max(stages, key=lambda stage: stages[stage])
    said, help_ = _WORK.get(name, name), _help(profile, name)
    share = percent(stages[name] / sum(stages.values()), 0)
    tries = _TRIES if profile["kind"] == "steps" else ""
    return (
        f"Training waits for the loader {percent(stall)} of the time: {share} of its work is {said}; without "
        f"waiting a step would be {percent(stall, 0)} shorter; not tried: {help_}{tries}."
    )


def _help(profile: Mapping[str, Any], stage: str) -> str:
    """Return what helps against a loader's stage, in the words of who can change it."""
    if profile["kind"] != "loader":
        return _OPTIONS.get(stage, "do less of it")
    ways = _ARGUMENTS.get(stage, {})
    return ways.get(profile.get("engine", ""), ways.get("", "do less of it"))


def _loader_seconds(profile: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for lane, name, begin, end, _ in profile["timeline"]:
        if lane == "loader":
            found[name] = found.get(name, 0.0) + end - begin
    return found


def _longest_phase(profile: Mapping[str, Any]) -> str:
    phases = {name: seconds for name, seconds in profile.get("phases", {}).items() if name != "wait"}
    if not phases:
        return ""
    name = max(phases, key=lambda phase: phases[phase])
    return f", most of it {name} ({percent(phases[name] / profile['seconds'], 0)})"


def median_step(profile: Mapping[str, Any]) -> float:
    """Return seconds per step of any profile."""
    if profile["kind"] == "run":
        return float(profile["together"]["milliseconds"]) / 1e3
    return float(profile["seconds"]) / int(profile["batches"])
