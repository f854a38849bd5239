"""Further streams of images, of which a method takes a batch at every step, as in recipes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from samplers import SamplerConfig, Uniform
from trainer.errors import RunError

MOST_RATIO = 1000.0


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A stream beside the training set: unlabeled images, for example.

    In a recipe ``[streams.NAME]`` is its table, with the method's name for it.

    Attributes
    ----------
    name
        The method's name for it.
    data
        Data set: a name under the data directory, whose training split is converted on first use, or the
        path of a .beton or .wds.
    ratio
        Images of the stream per trained image; the stream starts over when it is used up.
    sampler
        Sampler of the stream; one that needs no feedback, as streams have none.
    """

    name: str
    data: str
    ratio: float = 1.0
    sampler: SamplerConfig = field(default_factory=Uniform)

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise RunError(
                f"a stream's name must be that of an argument of the method; got {self.name!r}: "
                "write [streams.unlabelled], say"
            )
        if not 0 < self.ratio <= MOST_RATIO:
            raise RunError(
                f"streams.{self.name}.ratio must be above 0 and at most {MOST_RATIO:,.0f} images per image "
                f"trained on; got {self.ratio:g}"
            )
        if self.sampler.needs:
            raise RunError(
                f"streams.{self.name}.sampler must need no feedback, which only trained samples give; got "
                f"{type(self.sampler).__name__}: take uniform, scan or rs2"
            )
        object.__setattr__(self, "data", os.path.expanduser(self.data))  # noqa: PTH111

    def batch_size(self, trained: int, ranks: int) -> int:
        """Return the stream's samples per step, over all ranks, for ``trained`` trained ones."""
        return max(1, round(self.ratio * trained / ranks)) * ranks
