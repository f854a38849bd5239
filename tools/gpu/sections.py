"""The sections of the GPU check, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Attributes
    ----------
    name
        Name in results.json.
    title
        Title on the page.
    module
        Module with ``check(setting: Setting) -> Outcome``.
    weight
        Its fraction of the remaining time is this divided by the sum over itself and all later sections.
    """

    name: str
    title: str
    module: str
    weight: float


SECTIONS = tuple(
    Section(name, title, f"tools.gpu.checks.{name}", weight)
    for name, title, weight in (
        ("machine", "Machine", 2.0),
        ("parity", "Augmentation on the device against the CPU", 3.0),
        ("waits", "Steps that wait for the device", 4.0),
        ("streams", "Batches on a side stream, and memory by round", 3.0),
        ("accounts", "Accounts against the clock", 2.0),
        ("resume", "Resuming from a checkpoint", 3.0),
        ("cuda_tests", "Tests marked cuda", 8.0),
        ("plain", "Hand-written training loop: the ceiling", 5.0),
        ("loop", "Training loop: rates, and what bounds them", 8.0),
        ("augmentation", "Augmentation: draws, copies and kernels", 3.0),
        ("benches", "Benchmarks", 10.0),
        ("training", "A short training", 6.0),
    )
)
"""Correctness first, then performance."""
