"""A profile's finding in one sentence: the bottleneck and its remedies."""

from __future__ import annotations

from dataclasses import fields

from tools.profiling.finding import Measured
from tools.reporting.wording import listed, plain
from trainer.slots import SLOTS

_FEWER = {
    "bank": "take a smaller bank",
    "keep": "keep more of the candidates",
    "ratio": "load fewer candidates",
}
"""Ways to reduce the candidates per batch, keyed by the selection's option."""

_WAIT = 0.05
"""Fraction of a step's time up to which waiting for data isn't mentioned."""


_EXPLAINED = 0.6
"""Fraction of a step below which its stages alone don't explain it: something else uses the machine."""


def sentence(measured: Measured) -> str:
    """Return a sentence with the bottleneck and its remedies."""
    name = measured.bottleneck
    taken = measured.group(measured.longest)
    said = {
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
    waits = measured.fraction(measured.wait)
    if measured.beside and waits > _WAIT and name not in ("reading", "decoding", "disk", "draws", "copies"):
        said += f"; it also waits for data {_percent(waits)} of the time"
    if name not in ("network", "memory"):
        said += f"; without it a step would be {_percent(measured.gain)} shorter"
    if measured.explained < _EXPLAINED:
        said += (
            f"; but alone, its stages take only {_percent(measured.explained)} of a step: other programs, or "
            "more threads than cores, compete for the machine, so profile it again while it is idle, or with "
            "fewer --threads"
        )
    return f"{said}."


def _network(measured: Measured, fraction: str) -> str:
    run, times = measured.run, measured.step / measured.loader
    help_ = ["train at lower resolutions (--resolution progressive)"] * (
        SLOTS["resolution"].named(run) == "constant"
    )
    help_ += ["compile the network (--compile)"] * (not run.compile) + ["take a smaller one"]
    fed = (
        f"the loader could feed {_times(times)} as many images"
        if times >= 1
        else "the loader keeps up beside it"
    )
    return (
        f"Training is bound by the network{', as it should be' if measured.explained >= _EXPLAINED else ''}: "
        f"forward, backward and update take {fraction} of a step, and {fed}; to go faster, "
        f"{listed(help_, 'or')}"
    )


def _reading(measured: Measured, fraction: str) -> str:
    engine = SLOTS["engine"].named(measured.run)
    network = _times(measured.group("reading") / measured.group("network"))
    if engine == "resident":
        help_ = "convert smaller images (trainer convert --square)"
    elif measured.decodes:
        help_ = (
            "decode in more threads (--engine.threads), or convert the set with resolution levels "
            "(--levels), to smaller images (--max-resolution) or without compression (--encoding raw)"
        )
    else:
        help_ = (
            "keep the set in memory (--engine resident) or convert smaller images (trainer convert --square)"
        )
    what = "JPEG decoding" if measured.decodes and engine != "resident" else "images to be read"
    return (
        f"Training waits for {what}: it takes {_ms(measured.group('reading'))} where a whole step takes "
        f"{_ms(measured.step)}, {network} the network's time; {help_}"
    )


def _rereading(measured: Measured, fraction: str) -> str:
    return (
        f"Training waits for chosen samples, which are read again at full resolution: that takes {fraction} "
        "of a step; decode in more threads (--engine.threads), or convert the set without compression "
        "(--encoding raw)"
    )


def _draws(measured: Measured, fraction: str) -> str:
    return (
        f"Training waits for the augmentation's random numbers: drawing them takes {fraction} of a step; "
        "take a shorter chain (--augment), or larger images or networks, beside which it won't matter"
    )


def _copy(measured: Measured, fraction: str) -> str:
    return (
        f"Training waits for copies to the device: they take {fraction} of a step; keep the set on the "
        "device (--engine resident), or read smaller images (trainer convert --levels)"
    )


def _augmentation(measured: Measured, fraction: str) -> str:
    longest = max(measured.parts, key=lambda name: measured.parts[name], default="mixing")
    of_it = measured.fraction(measured.parts.get(longest, measured.stages.get("mixing", 0.0)))
    fewer = {
        "randaugment": "ask it for fewer operations (--augment.randaugment.operations 1)",
        "normalization": "train on smaller images",
        "resizing": "convert the set at the resolution of training (trainer convert --levels)",
    }.get(longest, "do without it")
    return (
        f"Training waits for augmentation: it takes {fraction} of a step, most of that {longest} "
        f"({_percent(min(1.0, of_it))}); {fewer}, take a cheaper chain (--augment), or train at lower "
        "resolutions (--resolution progressive)"
    )


def _selection(measured: Measured, fraction: str) -> str:
    part = measured.run.selection
    name = SLOTS["selection"].part_name(part)
    options = {item.name for item in fields(part)}  # type: ignore[arg-type]
    fewer = [f"{words} (--selection.{option})" for option, words in _FEWER.items() if option in options][:1]
    if not part.scores:
        seldom = ["select in every other step (--selection.interrupt 2)"] if "interrupt" in options else []
        ways = " or ".join([*fewer, *seldom]) or "take another (--selection)"
        return f"Training is bound by choosing among candidates: {name} takes {fraction} of a step; {ways}"
    lower = ["score at a lower resolution (--selection.pixels)"] if "pixels" in options else []
    part_only = "or select in a part of the run only (--selection.start, --selection.interrupt)"
    ways = ", ".join([*lower, *fewer, part_only])
    return f"Training is bound by scoring candidates for {name}: it takes {fraction} of a step; {ways}"


def _order(measured: Measured, fraction: str) -> str:
    name = SLOTS["sampler"].named(measured.run)
    return (
        f"Training waits for the sampler: {name}'s orders take {fraction} of a step; have them drawn beside "
        "the training (--service process --lead 20), or less often (--round-length 1)"
    )


def _feedback(measured: Measured, fraction: str) -> str:
    return (
        f"Training is held up by bringing losses back to the sampler: that takes {fraction} of a step; do it "
        "less often (--log-every) or in larger batches (--batch-size)"
    )


def _launches(measured: Measured, fraction: str) -> str:
    compiled = [] if measured.run.compile else ["compile the network (--compile)"]
    ways = listed(["take larger batches (--batch-size)", *compiled], "or")
    beside = (
        "; cores left to the loader, which works beside the training, may help too (--threads)"
        if measured.beside
        else ""
    )
    return (
        f"Training is bound by launches and Python, between and within its stages: they take {fraction} of a "
        f"step; {ways}{beside}"
    )


def _memory(measured: Measured, fraction: str) -> str:
    help_ = [] if measured.run.compile else ["fuse its operations (--compile)"]
    help_ += [
        "halve its activations (--precision bf16)",
        "train at lower resolutions (--resolution progressive)",
    ]
    return (
        f"Training is bound by the memory's bandwidth: the network takes {fraction} of a step, and moves its "
        f"bytes nearly as fast as memory can; {listed(help_, 'or')}"
    )


def _disk(measured: Measured, fraction: str) -> str:
    engine = SLOTS["engine"].named(measured.run)
    memory = [] if engine == "resident" else ["keep the set in memory (--engine resident)"]
    ways = [
        *memory,
        "put it on a faster disk",
        "store it smaller (trainer convert --max-resolution, --square)",
    ]
    return (
        f"Training waits for the disk: loading takes {_ms(measured.loading or 0.0)} per step from there and "
        f"{_ms(measured.loader)} from memory; {listed(ways, 'or')}"
    )


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}" if fraction >= 0.1 else f"{fraction:.1%}"


def _times(times: float) -> str:
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times"


def _ms(seconds: float) -> str:
    return f"{plain(1e3 * seconds)} ms"
