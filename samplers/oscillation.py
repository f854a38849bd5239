"""Oscillation: rounds of low and of high volume in turn, at the same total (PODS)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from samplers.errors import SamplingError

_FINEST = 1_000_000  # largest denominator of a depth: sizes of rounds are computed in integers


@dataclass(frozen=True, slots=True)
class Oscillation:
    """Volumes of rounds: phases of low ones and of high ones in turn, beginning with a low phase.

    Plug-and-play oscillatory data-volume scheduling, PODS (Yang et al. 2026): phases of a low selection
    ratio, in which selection regularizes more, alternate with phases of a high one, which recover coverage,
    at the total of a fixed ratio. With the mean volume v of a round, rounds hold ::

        (1 - depth) * v    for ``phase`` rounds,  then    (1 + depth) * v    for as many

    up to rounding, and up to a common factor where the last period of 2 * ``phase`` rounds is incomplete, so
    that the total is exactly the budget's.

    Of the paper only the abstract and its authors' explanation of it were at hand. They have the two phases
    and the equal total; the paper also sets the length of the low phases automatically, by a rule that these
    don't give. Here it is an option, and both phases are of the same length.

    Attributes
    ----------
    depth
        From 0 (rounds of one volume) to below 1.
    phase
        Rounds in a low phase, and in a high one.
    """

    depth: float = 0.0
    phase: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.depth < 1:
            raise SamplingError(
                f"oscillation must be at least 0 and below 1, a part of a round's volume; got {self.depth:g}"
            )
        if self.phase < 1:
            raise SamplingError(f"oscillation_rounds must be at least 1; got {self.phase}")
        if self.phase != 1 and not self.depth:
            raise SamplingError(
                f"oscillation_rounds is the length of oscillation's phases, and oscillation is 0; got "
                f"{self.phase}: set oscillation, or leave it out"
            )

    def _parts(self) -> tuple[int, int]:
        """Return the volumes of a low and of a high round, as integers of one unit."""
        depth = Fraction(self.depth).limit_denominator(_FINEST)
        return depth.denominator - depth.numerator, depth.denominator + depth.numerator

    def _units(self, rounds: int) -> int:
        """Return the volume of the first ``rounds`` rounds in that unit."""
        low, high = self._parts()
        periods, rest = divmod(rounds, 2 * self.phase)
        first = min(rest, self.phase)
        return periods * self.phase * (low + high) + first * low + (rest - first) * high

    def before(self, number: int, rounds: int, total: int) -> int:
        """Return how many of ``total`` samples the first ``number`` of ``rounds`` rounds hold."""
        return self._units(number) * total // self._units(rounds)

    def largest(self, rounds: int, total: int) -> int:
        """Return the volume of the largest of ``rounds`` rounds, rounded up."""
        low, high = self._parts()
        return -(-(high if rounds > self.phase else low) * total // self._units(rounds))

    def most_rounds(self, total: int, batch_size: int) -> int:
        """Return the number of rounds, at least 1, up to which each holds a batch."""
        low, high = self._parts()
        return max(1, 2 * low * total // ((low + high) * batch_size))
