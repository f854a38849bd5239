"""A profile's finding in one sentence: the bottleneck and its remedies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from tools.profiling.changes import best
from tools.profiling.finding import Measured
from tools.profiling.timing import COMPILING_SECONDS
from tools.reporting.wording import listed, multiple, plain
from trainer.slots import SLOTS

_FEWER = {
    "bank": "take a smaller bank",
    "keep": "keep more of the candidates",
    "ratio": "load fewer candidates",
}
"""Ways to reduce the candidates per batch, keyed by the selection's option."""

_WAIT = 0.05
"""Fraction of a step's time up to which waiting for data isn't mentioned."""

Advised = tuple[str, Sequence[str]]
"""A bound in words, and what may help against it, with the option to type."""


def sentence(measured: Measured, tried: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a sentence with the bottleneck, and what helps against it as far as that was tried.

    Parameters
    ----------
    tried
        Rows of the settings that were tried.
    """
    name = measured.bottleneck
    taken = measured.group(measured.longest)
    said, remedies = {
        "network": _network,
        "memory": _memory,
        "launches": _launches,
        "reading": _reading,
        "decoding": _reading,
        "disk": _disk,
        "rereading": _rereading,
        "draws": _draws,
        "copies": _copy,
        "augmentation": _augmentation,
        "selection": _selection,
        "sampler": _order,
        "feedback": _feedback,
    }[name](measured, _percent(min(1.0, measured.fraction(taken))))
    said = "; ".join([said, *_advice(remedies, tried)])
    waits = measured.fraction(measured.wait)
    if measured.beside and waits > _WAIT and name not in ("reading", "decoding", "disk", "draws", "copies"):
        said += f"; it also waits for data {_percent(waits)} of the time"
    if name not in ("network", "memory"):
        said += f"; without it a step would be {_percent(measured.gain)} shorter"
    if measured.disturbed is not None:
        said += f"; but {measured.disturbed}"
    return f"{said}."


def _advice(remedies: Sequence[str], tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what to type, as it was measured, and what else may help and wasn't tried."""
    done = [row for row in tried if "refused" not in row]
    said = []
    if winner := next(best(done), None):
        learns = ", though it changes what is learned" if winner["learns"] else ""
        said.append(f"type {winner['option']}: tried, it is {winner['speedup']:.2f} times as fast{learns}")
    elif done:
        names = listed([row["option"] for row in done])
        said.append(f"tried, {names} {'makes' if len(done) == 1 else 'make'} it no faster beyond the spread")
    options = {row["option"].split()[0] for row in tried}
    left = [words for words in remedies if options.isdisjoint(re.findall(r"--[a-z][\w.-]*", words))]
    return [*said, f"not tried: {listed(left, 'or')}"] if left else said


_COMPILE = f"compile the network (--compile, tried from --seconds {COMPILING_SECONDS:g} on)"
_LOWER = "train at lower resolutions (--resolution progressive)"


def _network(measured: Measured, fraction: str) -> Advised:
    run, times = measured.run, measured.reserve
    help_ = [_LOWER] * (SLOTS["resolution"].named(run) == "constant")
    help_ += [_COMPILE] * (not run.compile) + ["take a smaller one (--model)"]
    fed = (
        f"the loader alone gives {multiple(times)} as many images"
        if times >= 1
        else "the loader keeps up beside it"
    )
    return (
        f"Training is bound by the network{', as it should be' if measured.disturbed is None else ''}: "
        f"forward, backward and update take {fraction} of a step, all else could win "
        f"{_percent(1 - measured.gain)}, and {fed}"
    ), help_


def _reading(measured: Measured, fraction: str) -> Advised:
    engine = SLOTS["engine"].named(measured.run)
    network = multiple(measured.group("reading") / measured.group("network"))
    if engine == "resident":
        help_ = ["convert smaller images (trainer convert --square)"]
    elif measured.decodes:
        help_ = [
            "decode in more threads (--engine.threads)",
            "convert the set with resolution levels (trainer convert --levels), to smaller images "
            "(--max-resolution) or without compression (--encoding raw)",
        ]
    else:
        help_ = [
            "keep the set in memory (--engine resident)",
            "convert smaller images (trainer convert --square)",
        ]
    what = "JPEG decoding" if measured.decodes and engine != "resident" else "images to be read"
    return (
        f"Training waits for {what}: it takes {_ms(measured.group('reading'))} where a whole step takes "
        f"{_ms(measured.step)}, {network} the network's time"
    ), help_


def _rereading(measured: Measured, fraction: str) -> Advised:
    return (
        f"Training waits for chosen samples, which are read again at full resolution: that takes {fraction} "
        "of a step"
    ), [
        "decode in more threads (--engine.threads)",
        "convert the set without compression (trainer convert --encoding raw)",
    ]


def _draws(measured: Measured, fraction: str) -> Advised:
    return (
        f"Training waits for the augmentation's random numbers: drawing them takes {fraction} of a step"
    ), ["take a shorter chain (--augment)", "larger images or networks, beside which it won't matter"]


def _copy(measured: Measured, fraction: str) -> Advised:
    return f"Training waits for copies to the device: they take {fraction} of a step", [
        "keep the set on the device (--engine resident)",
        "read smaller images (trainer convert --levels)",
    ]


def _augmentation(measured: Measured, fraction: str) -> Advised:
    longest = max(measured.parts, key=lambda name: measured.parts[name], default="mixing")
    of_it = measured.fraction(measured.parts.get(longest, measured.stages.get("mixing", 0.0)))
    fewer = {
        "randaugment": "ask it for fewer operations (--augment.randaugment.operations 1)",
        "normalization": "train on smaller images",
        "resizing": "convert the set at the resolution of training (trainer convert --levels)",
    }.get(longest, "do without it")
    return (
        f"Training waits for augmentation: it takes {fraction} of a step, most of that {longest} "
        f"({_percent(min(1.0, of_it))})"
    ), [fewer, "take a cheaper chain (--augment)", _LOWER]


def _selection(measured: Measured, fraction: str) -> Advised:
    part = measured.run.selection
    name = SLOTS["selection"].part_name(part)
    options = {item.name for item in fields(part)}  # type: ignore[arg-type]
    fewer = [f"{words} (--selection.{option})" for option, words in _FEWER.items() if option in options][:1]
    if not part.scores:
        seldom = ["select in every other step (--selection.interrupt 2)"] if "interrupt" in options else []
        ways = [*fewer, *seldom] or ["take another (--selection)"]
        return f"Training is bound by choosing among candidates: {name} takes {fraction} of a step", ways
    lower = ["score at a lower resolution (--selection.pixels)"] if "pixels" in options else []
    part_only = "select in a part of the run only (--selection.start, --selection.interrupt)"
    return (
        f"Training is bound by scoring candidates for {name}: it takes {fraction} of a step",
        [*lower, *fewer, part_only],
    )


def _order(measured: Measured, fraction: str) -> Advised:
    name = SLOTS["sampler"].named(measured.run)
    return f"Training waits for the sampler: {name}'s orders take {fraction} of a step", [
        "have them drawn beside the training (--service process --lead 20)",
        "draw them less often (--round-length 1)",
    ]


def _feedback(measured: Measured, fraction: str) -> Advised:
    return f"Training is held up by bringing losses back to the sampler: that takes {fraction} of a step", [
        "do it less often (--log-every)",
        "take larger batches (--batch-size)",
    ]


def _launches(measured: Measured, fraction: str) -> Advised:
    help_ = ["take larger batches (--batch-size)", *([] if measured.run.compile else [_COMPILE])]
    help_ += ["leave cores to the loader, which works beside the training (--threads)"] * bool(
        measured.beside
    )
    return (
        f"Training is bound by launches and Python, between and within its stages: they take {fraction} of a "
        "step"
    ), help_


def _memory(measured: Measured, fraction: str) -> Advised:
    help_ = [] if measured.run.compile else [_COMPILE]
    return (
        f"Training is bound by the memory's bandwidth: the network takes {fraction} of a step, and moves its "
        "bytes nearly as fast as memory can"
    ), [*help_, "halve its activations (--precision bf16)", _LOWER]


def _disk(measured: Measured, fraction: str) -> Advised:
    engine = SLOTS["engine"].named(measured.run)
    memory = [] if engine == "resident" else ["keep the set in memory (--engine resident)"]
    return (
        f"Training waits for the disk: loading takes {_ms(measured.loading or 0.0)} per step from there and "
        f"{_ms(measured.loader)} from memory"
    ), [
        *memory,
        "put it on a faster disk",
        "store it smaller (trainer convert --max-resolution, --square)",
    ]


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}" if fraction >= 0.1 else f"{fraction:.1%}"


def _ms(seconds: float) -> str:
    return f"{plain(1e3 * seconds)} ms"
