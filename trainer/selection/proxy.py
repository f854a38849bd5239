"""proxy: the highest losses of a pool under a small network that is trained beside the run's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pipeline.augment.spelled import spelled
from pipeline.errors import DataError
from trainer.errors import RunError
from trainer.models import MODELS, ModelConfig
from trainer.selection.helpers.base import BaseSelection, Scored, scored_losses
from trainer.selection.helpers.checks import check_at_least
from trainer.selection.helpers.draws import highest
from trainer.selection.protocol import Candidates, Choice, Setting

_WIDTHS = "width", "widths"
"""Options of networks that are a width, or several."""


@dataclass(frozen=True)
class Proxy(Scored):
    """The b highest losses of a pool, under a small network that is trained on some of what is chosen.

    Jordan (2024), airbench96_faster: CIFAR-10 to 96% in 27.3 s of an A100 where the same training without
    takes 34.7 s. The proxy scores every pool and, at every so many, makes a step on those that it chose, with
    the run's method, optimizer and schedule. There its whole training comes first, and its steps are on whole
    pools with the losses of the rest masked; here both networks are trained side by side, and its steps take
    the chosen samples alone, which costs less.

    All its passes are charged: a scored candidate costs as much as the proxy's scoring and training take per
    candidate, measured on this device at the run's start. Losses under the proxy are not fed back to the
    sampler. Under --scoring train candidates are normalized by their own statistics, as there.
    """

    model: str | None = None
    """The proxy's network, with an option after each colon, as whitened_cnn:widths=32,64,64:depth=2; None
    takes the run's own, narrowed to selection.width."""

    width: float = 0.25
    """Width of the proxy relative to the network's, where model is None; for networks with a width."""

    every: int = 4
    """Pools from one step of the proxy to the next."""

    ratio: float = 2.0
    """Candidates loaded per trained sample: 2 trains on the upper half."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("ratio", self.ratio, 1)
        if self.every < 1:
            raise RunError(f"selection.every must be at least 1 pool; got {self.every}")
        if not 0 < self.width < 1:
            raise RunError(
                "selection.width must be above 0 and below 1, a fraction of the network's; got "
                f"{self.width:g}"
            )
        if self.model is not None:
            self._named(self.model)

    @property
    def passes(self) -> float:
        """Forward passes of the proxy per candidate, with those of its steps, of three each."""
        return 1 + 3 / (self.ratio * self.every)

    def network_of(self, network: ModelConfig) -> ModelConfig:
        """Return the proxy of a network: see `trainer.selection.protocol.OwnNetwork`."""
        if self.model is not None:
            return self._named(self.model)
        options = {item.name: getattr(network, item.name) for item in fields(network)}  # type: ignore[arg-type]
        narrowed = {name: self._narrowed(options[name]) for name in _WIDTHS if name in options}
        if not narrowed:
            raise RunError(
                f"selection.model must name the proxy's network, as {type(network).__name__} has no width to "
                "narrow; got None: give --selection.model resnet8"
            )
        made: ModelConfig = replace(network, **narrowed)  # type: ignore[type-var]
        return made

    def build(self, setting: Setting) -> ProxySelection:
        """Make the selection, with its network."""
        return ProxySelection(self, setting)

    def _narrowed(self, width: Any) -> Any:
        if isinstance(width, tuple):
            return tuple(map(self._narrowed, width))
        return max(1, round(self.width * width))

    @staticmethod
    def _named(text: str) -> ModelConfig:
        name = text.partition(":")[0]
        if name not in MODELS:
            raise RunError(f"selection.model must be one of {', '.join(MODELS)}; got {name!r}")
        try:
            return spelled(text, MODELS)
        except DataError as error:
            raise RunError(f"selection.model: {error}") from None


class ProxySelection(BaseSelection):
    """Chooses by the proxy's losses, which the driver computes with it, and trains it.

    Attributes
    ----------
    own
        The proxy.
    """

    part: Proxy

    def __init__(self, part: Proxy, setting: Setting) -> None:
        super().__init__(part, setting)
        assert setting.network is not None
        assert setting.further is not None
        self.own = setting.further(part.network_of(setting.network))
        self._pools = 0

    def choose(self, candidates: Candidates) -> Choice:
        """Choose the highest losses under the proxy; train it on them at every so many pools."""
        indices = highest(scored_losses(candidates).loss[:, 0], self.count(candidates))
        # Batch normalization refuses a single image.
        if self._pools % self.part.every == 0 and len(indices) > 1:
            assert candidates.labels is not None
            # index_select on [n, C, H, W] would return images that are channels first in memory.
            pixels = candidates.images.permute(0, 2, 3, 1)
            images = pixels.index_select(0, indices).permute(0, 3, 1, 2)
            self.own.train(images, candidates.labels.index_select(0, indices), candidates.progress)
        self._pools += 1
        return Choice(indices)

    def state_dict(self) -> dict[str, Any]:
        """Return the proxy, and the number of pools so far."""
        return {"own": self.own.state_dict(), "pools": self._pools}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.own.load_state_dict(state["own"])
        self._pools = state["pools"]
