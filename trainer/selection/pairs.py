"""Driver of a selection among the views of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch, RawBatch, Views
from pipeline.ops.memory import place
from pipeline.randomness import Keys
from pipeline.randomness import uniforms as draw_uniforms
from pipeline.resolution import Stage
from pipeline.targets import LABEL
from trainer.hardware.compiling import compiled_by_resolution
from trainer.hardware.precision import autocast
from trainer.inference.scorer import Folding, forgetful
from trainer.methods import Method
from trainer.methods.embedding import pair_cosines
from trainer.selection.driver import Ready, Selector
from trainer.selection.hard_augment import HardAugment, HardAugmentSelection
from trainer.selection.protocol import Candidates, Choice


class PairSelector(Selector):
    """Turns each batch of m views of every sample into one of two views, where a run selects among views.

    Parameters
    ----------
    part, selection
        The selection's config, and the selection.
    bf16, compiled
        Precision of scoring passes, and whether they are compiled.
    others
        As of `Selector`.
    """

    part: HardAugment
    selection: HardAugmentSelection

    def __init__(
        self, part: HardAugment, selection: HardAugmentSelection, *, bf16: bool, compiled: bool, **others: Any
    ) -> None:
        super().__init__(part, selection, **others)
        self.loads_more = self.works = True
        self.reread = False
        self.passes = part.passes
        self.views = Views((self.augmentation,) * part.m)
        first = next(self._method.parameters())
        self._precision = autocast(first.device, bf16)
        self._folded_dtype = torch.bfloat16 if bf16 else None
        outputs: nn.Module = _PairOutputs(self._method)
        self._outputs = compiled_by_resolution(outputs) if compiled else outputs

    def ready(self, raw: RawBatch, stage: Stage, select: bool) -> Iterator[Ready]:
        """Yield a batch of the chosen views of all samples, or of the first two: see ``Selector.ready``."""
        self._turns += 1
        with self._ledger.phase("augment"):
            light = raw.augment()
        if not select:
            yield Ready(self.training_batch(light))
            return
        with self._ledger.phase("score"):
            pair = self._pair(light, stage)
        with self._ledger.phase("augment"):
            chosen = _picked(light.views, pair)
            if self.part.extra_targets and self.part.m > 2:
                chosen += self._others(light, stage, pair)
        everything = torch.arange(len(light), device=light.images.device)
        yield Ready(_with_views(light, chosen), Choice(everything))

    def training_batch(self, light: Batch) -> Batch:
        """Return loaded samples with their first two views: see ``Selector.training_batch``."""
        return _with_views(light, light.views[:2])

    def candidates_of(self, light: Batch, stage: Stage) -> Candidates:
        """Return all samples as candidates, after the work of choosing among their views."""
        first, _ = self._pair(light, stage)
        assert isinstance(light.ids, np.ndarray)
        return Candidates(light.ids, light.images, light.targets.get(LABEL), first)

    def _pair(self, light: Batch, stage: Stage) -> tuple[Tensor, Tensor]:
        """Return the numbers of the two views of each sample to train on, int64[n] each, and charge it."""
        ids, at = light.ids, light.cursor
        assert isinstance(ids, np.ndarray)
        assert at is not None
        keys = Keys(self._seed, at.round, at.step, ids, at.occurrences)
        uniforms = place(draw_uniforms(keys, "selection", 1), light.images.device)[:, 0]
        losses = None
        if self.part.chooses:
            losses = self.score(light, stage)
        if self.part.scores:
            passed = len(light) * self.part.passes * self._world.size
            self._account.charge("scored", passed, self.scoring_pixels(stage))
        return self.selection.pairs(losses, uniforms)

    def _others(self, light: Batch, stage: Stage, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Return the views that aren't trained on at the resolution of scoring, [n, C, h, w] each."""
        shrunk = tuple(_shrunk(view, self.scoring_pixels(stage)) for view in light.views)
        numbers = torch.arange(self.part.m, device=pair[0].device)
        trained = (numbers == pair[0][:, None]) | (numbers == pair[1][:, None])
        # Those that are not come first, in their order.
        rest = trained.to(torch.int8).argsort(dim=1, stable=True)[:, :-2]
        return _picked(shrunk, tuple(rest.unbind(dim=1)))

    @torch.no_grad()
    def score(self, light: Batch, stage: Stage) -> Tensor:  # type: ignore[override]
        """Return the loss of every pair of views at the resolution of scoring, float[n, m, m]."""
        method, count = self._method, len(light.views)
        shown = torch.cat([_shrunk(view, self.scoring_pixels(stage)) for view in light.views])
        training, own = method.training, self.part.scoring == "train"
        method.train(own)
        try:
            with forgetful(method) if own else self._folding(), self._precision:
                outputs = self._outputs(shown)
        finally:
            method.train(training)
        by_sample = [one.unflatten(0, (count, len(light))).transpose(0, 1) for one in outputs]
        if self.part.score == "cosine":
            return pair_cosines(by_sample[-1], by_sample[-1])
        return method.pair_losses(by_sample)

    @cached_property
    def _folding(self) -> Folding:
        return Folding(self._method.encoder, self._folded_dtype)


class _PairOutputs(nn.Module):
    """A method's outputs for pairs as a module, for torch.compile."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.method.pair_outputs(images))


def _with_views(batch: Batch, views: tuple[Tensor, ...]) -> Batch:
    return Batch(batch.ids, views, batch.targets, None, batch.weights, batch.cursor)


def _picked(views: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return views [n, C, H, W], of each sample those with the given numbers, int64[n] each."""
    # Rows of pixels side by side, so that what is taken stays channels_last.
    rows = torch.cat([view.permute(0, 2, 3, 1) for view in views])
    n = len(views[0])
    place_of = torch.arange(n, device=rows.device)
    return tuple(rows.index_select(0, number * n + place_of).permute(0, 3, 1, 2) for number in numbers)


def _shrunk(images: Tensor, pixels: int) -> Tensor:
    """Return images with a shorter side of ``pixels``."""
    sides = np.array(images.shape[2:])
    if pixels == sides.min():
        return images
    size = np.maximum(1, np.round(sides * pixels / sides.min())).astype(int).tolist()
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
