"""The bottleneck of a run, by what each component takes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.engines.protocol import holds_images
from tools.profiling.reference import QUIET
from trainer.config import Run

GROUPS: Mapping[str, tuple[str, ...]] = {
    "network": ("forward", "backward", "optimizer"),
    "launches": ("rest",),
    "reading": ("reading",),
    "disk": (),
    "rereading": ("reading again",),
    "draws": ("draws",),
    "copies": ("copy",),
    "augmentation": ("augmentation", "augmenting again", "mixing"),
    "selection": ("scoring", "selecting"),
    "sampler": ("order",),
    "feedback": ("feedback",),
}
"""Possible bottlenecks, and their components; the network may be bound by "memory", and reading is "decoding"
where a batch's JPEGs are decoded."""

BOUNDS = (*GROUPS, "memory", "decoding")

_NOISE = 0.25
"""Fraction of a step from which on loading that is slower than from memory is held to be the disk's."""


LEAST_EXPLAINED, MOST_EXPLAINED = 0.6, 1.15
"""Fractions of a step between which its stages alone come to it on a machine that nothing else uses."""


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
    launching
        Seconds per step that launching the network's operations takes, on a CPU, by their number.
    host_bound
        Whether a GPU has nothing left to do when the host has launched the last kernels.
    memory_bound
        Whether the network is held up by the memory's bandwidth.
    loading
        Seconds per step of the loader alone on the samples of the set as they come; None if not measured.
    overlaps
        Whether a device works beside the host, so that stages alone may come to more than a step.
    machine
        Times as long as it needs that a fixed piece of work took: above 1 on a busy machine.
    """

    run: Run
    stages: Mapping[str, float]
    parts: Mapping[str, float]
    step: float
    wait: float
    beside: frozenset[str]
    decodes: bool
    launching: float = 0.0
    host_bound: bool = False
    memory_bound: bool = False
    loading: float | None = None
    overlaps: bool = False
    machine: float = 1.0

    def group(self, name: str) -> float:
        """Return seconds per step of one of the `GROUPS`."""
        seconds = sum(self.stages.get(stage, 0.0) for stage in GROUPS[name])
        if name == "network":
            return seconds - self._launching
        if name == "launches":
            return seconds + self._launching
        if name == "disk":
            return self._from_disk
        return seconds

    @property
    def _launching(self) -> float:
        """The part of the network's time that is the host's."""
        network = sum(self.stages.get(stage, 0.0) for stage in GROUPS["network"])
        return network if self.host_bound else min(network, self.launching)

    @property
    def loader(self) -> float:
        """Return the loader's seconds per step if it ran alone, on samples in memory."""
        return sum(self.stages.get(stage, 0.0) for stage in ("reading", "draws", "copy"))

    @property
    def reserve(self) -> float:
        """Return how many times as many images as training takes the loader alone gives.

        Of the set as it comes, where that was measured, and else of samples in memory.
        """
        return self.step / (self.loader if self.loading is None else self.loading)

    @property
    def gap(self) -> float:
        """Return what a step takes beyond its stages alone and the waiting for others; may be below 0."""
        own = sum(seconds for name, seconds in self.stages.items() if name not in self.beside)
        return self.step - own - (self.wait if "reading" in self.beside else 0.0)

    @property
    def _from_disk(self) -> float:
        """Seconds per step by which loading takes longer than from memory; 0 for what may be noise."""
        if self.loading is None:
            return 0.0
        more = self.loading - self.loader
        return more if more > max(self.loader, _NOISE * self.step) else 0.0

    @property
    def groups(self) -> dict[str, float]:
        """Return seconds per step by the `GROUPS`."""
        return {name: self.group(name) for name in GROUPS}

    @property
    def _ways(self) -> tuple[set[str], set[str]]:
        """The groups that run concurrently with training, if any, and the others."""
        beside = {name for name, stages in GROUPS.items() if self.beside.intersection(stages)}
        if "reading" in beside:
            beside.add("disk")
        return beside, GROUPS.keys() - beside

    @property
    def longest(self) -> str:
        """Return the longest of the `GROUPS` on the critical path.

        If a loader runs concurrently with training, a step takes as long as the slower of the two.
        """
        beside, others = self._ways
        groups = self.groups
        longer = (
            beside if sum(groups[name] for name in beside) > sum(groups[name] for name in others) else others
        )
        return max((name for name in GROUPS if name in longer), key=lambda name: groups[name])

    @property
    def bottleneck(self) -> str:
        """Return the bottleneck, one of `BOUNDS`."""
        name = self.longest
        if name == "network" and self.memory_bound:
            return "memory"
        if name == "reading" and self.decodes and not holds_images(self.run.engine):
            return "decoding"
        return name

    @property
    def gain(self) -> float:
        """Return the fraction of a step that could be won by removing the bottleneck."""
        groups = self.groups
        ways = [sum(groups[name] for name in way) for way in self._ways]
        bound = self.longest
        without = [sum(groups[name] for name in way if name != bound) for way in self._ways]
        return 1 - max(without) / max(ways) if max(ways) > 0 else 0.0

    @property
    def explained(self) -> float:
        """Return what its stages alone come to on the critical path, as a fraction of a step.

        Near 1 where nothing else uses the machine.
        """
        groups = self.groups
        return self.fraction(max(sum(groups[name] for name in way) for way in self._ways))

    @property
    def disturbed(self) -> str | None:
        """Return why the profile isn't to be trusted, in words; None if it is."""
        if self.explained < LEAST_EXPLAINED:
            return (
                f"alone, its stages take only {self.explained:.0%} of a step: other programs, or more "
                "threads than cores, compete for the machine, so profile it again while it is idle, or with "
                "fewer --threads"
            )
        if self.explained > MOST_EXPLAINED and not self.overlaps:
            return (
                f"alone, its stages take {self.explained:.0%} of the step that they are part of: other "
                "programs disturbed the measurement, so profile it again on a quiet machine"
            )
        if self.machine > QUIET:
            return (
                f"a fixed piece of work beside it took {self.machine:.1f} times as long as it needs: other "
                "programs used the machine, so profile it again while it is quiet"
            )
        return None

    def fraction(self, seconds: float) -> float:
        """Return seconds as a fraction of a step."""
        return seconds / self.step
