"""The bottleneck of a run, and remedies, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from tools.reporting.wording import listed
from trainer.config import Run
from trainer.slots import SLOTS

GROUPS: Mapping[str, tuple[str, ...]] = {
    "network": ("forward", "backward", "optimizer"),
    "reading": ("reading",),
    "rereading": ("reading again",),
    "draws": ("draws",),
    "copy": ("copy",),
    "augmentation": ("augmentation", "augmenting again", "mixing"),
    "selection": ("scoring", "selecting"),
    "order": ("order",),
    "feedback": ("feedback",),
    "rest": ("rest",),
}
"""Possible bottlenecks, and their components."""

_FEWER = {
    "bank": "take a smaller bank",
    "keep": "keep more of the candidates",
    "ratio": "load fewer candidates",
}
"""Ways to reduce the candidates per batch, keyed by the selection's option."""

_WAIT = 0.05
"""Fraction of a step's time up to which waiting for data isn't mentioned."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A run's profile.

    Attributes
    ----------
    run
        The run's settings.
    stages
        Seconds per step of every component alone, in their order within a step; last "rest", the time of a
        step outside its phases.
    parts
        Seconds per step of each augmentation in the chain.
    step
        Seconds per step of all components together, in the training loop.
    wait
        Seconds per step of these in which training waited for data.
    beside
        Components that run concurrently with training.
    decodes
        Whether reading includes decoding of JPEGs.
    """

    run: Run
    stages: Mapping[str, float]
    parts: Mapping[str, float]
    step: float
    wait: float
    beside: frozenset[str]
    decodes: bool

    def group(self, name: str) -> float:
        """Return seconds per step of one of the `GROUPS`."""
        return sum(self.stages.get(stage, 0.0) for stage in GROUPS[name])

    @property
    def loader(self) -> float:
        """Return the loader's seconds per step if it ran alone."""
        return sum(self.stages.get(stage, 0.0) for stage in ("reading", "draws", "copy"))

    @property
    def bottleneck(self) -> str:
        """Return the bottleneck: the longest of the `GROUPS` on the critical path.

        If a loader runs concurrently with training, a step takes as long as the slower of the two.
        """
        beside = {name for name, stages in GROUPS.items() if self.beside.intersection(stages)}
        of_each = {name: self.group(name) for name in GROUPS}
        ahead = sum(of_each[name] for name in beside)
        longer = beside if ahead > sum(of_each.values()) - ahead else GROUPS.keys() - beside
        return max((name for name in GROUPS if name in longer), key=lambda name: of_each[name])

    def fraction(self, seconds: float) -> float:
        """Return seconds as a fraction of a step."""
        return seconds / self.step


def sentence(measured: Measured) -> str:
    """Return a sentence with the bottleneck and its remedies."""
    name = measured.bottleneck
    taken = measured.group(name)
    said = {
        "network": _network,
        "reading": _reading,
        "rereading": _rereading,
        "draws": _draws,
        "copy": _copy,
        "augmentation": _augmentation,
        "selection": _selection,
        "order": _order,
        "feedback": _feedback,
        "rest": _rest,
    }[name](measured, _percent(min(1.0, measured.fraction(taken))))
    waits = measured.fraction(measured.wait)
    if measured.beside and waits > _WAIT and name not in ("reading", "draws", "copy"):
        said += f"; it also waits for data {_percent(waits)} of the time"
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
        f"Training is bound by the network, as it should be: forward, backward and update take {fraction} of "
        f"a step, and {fed}; to go faster, {listed(help_, 'or')}"
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


def _rest(measured: Measured, fraction: str) -> str:
    help_ = "take larger batches (--batch-size)"
    if measured.beside:
        help_ += (
            ", or leave cores to the loader, which works beside the training (--threads, --engine.threads)"
        )
    return (
        f"Training is bound by what lies between its stages: {fraction} of a step belongs to none of them; "
        f"{help_}"
    )


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}" if fraction >= 0.1 else f"{fraction:.1%}"


def _times(times: float) -> str:
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g} ms"
