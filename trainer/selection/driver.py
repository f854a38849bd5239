"""Driver of a selection: scores, selects and mixes loaded candidates into training batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import Augmentation, Batch, Loader, PendingIds, RawBatch, Views
from pipeline.batch import Ids
from pipeline.ops.memory import place
from pipeline.randomness import Keys
from pipeline.randomness import uniforms as draw_uniforms
from pipeline.resolution import Stage
from pipeline.targets import LABEL
from trainer.account import Account
from trainer.feedback import FeedbackBuffer
from trainer.inference.scorer import Scorer
from trainer.methods import Losses, Method
from trainer.parallel import World
from trainer.selection import Candidates, Choice, Owner, Selection, SelectionConfig, Weighting
from trainer.selection.helpers.base import Scored
from trainer.selection.pool import Rows


@dataclass(frozen=True, slots=True)
class Ready:
    """A batch to train on.

    Attributes
    ----------
    batch
        Augmented, mixed and normalized.
    choice
        The chosen candidates; None if they weren't selected from.
    """

    batch: Batch
    choice: Choice | None = None


class Selector:
    """Turns each batch of candidates into none, one or several batches to train on, where a run selects.

    Light augmentation, scoring, selection, mixing, in this order: what is scored is the crop that is
    trained, with its own label, and only selected samples are mixed with each other. A selection that loads
    no more than it trains on leaves the loader's batches as they are.

    Parameters
    ----------
    part, selection
        The selection's config, and the selection.
    augmentation
        The run's whole augmentation.
    scorer
        Scores candidates with the network.
    views
        Number of views of each sample in a batch; 1 if candidates are selected from.
    batch_size
        Samples per step on this rank.
    augment_seed, seed
        Seeds of mixing and of selection.
    reread
        Whether candidates are loaded at the resolution of scoring, and the chosen ones reread at full size.

    Attributes
    ----------
    passes
        Images per candidate that a scoring pass takes.
    own
        The network that the selection scores by in place of the run's; None where it scores by that.
    """

    def __init__(
        self,
        part: SelectionConfig,
        selection: Selection,
        *,
        augmentation: Augmentation,
        scorer: Scorer,
        method: Method,
        loader: Loader,
        account: Account,
        feedback: FeedbackBuffer,
        world: World,
        views: int,
        batch_size: int,
        augment_seed: int,
        seed: int,
        reread: bool,
    ) -> None:
        self.part = part
        self.selection = selection
        # isinstance on a runtime_checkable Protocol is slow; cache the result.
        self.weighting = selection if isinstance(selection, Weighting) else None
        self.loads_more = part.ratio > 1 or part.scores
        self.works = self.loads_more or self.weighting is not None
        light, self._mixing = augmentation.parted()
        self.augmentation = light if self.loads_more else augmentation
        self.views = Views((self.augmentation,) * views)
        self.reread = reread
        self.passes = 1
        self._scorer = scorer
        self._method = method
        self._loader = loader
        self._account = account
        self._ledger = account.ledger
        self._feedback = feedback
        self._world = world
        self._batch_size = batch_size
        self._augment_seed = augment_seed
        self._seed = seed
        self.own = selection.own if isinstance(selection, Owner) else None
        self._turns = 0
        self._waiting: Rows | None = None

    def stage(self, stage: Stage) -> Stage:
        """Return the stage at which to load candidates when training at ``stage``."""
        if not self.reread:
            return stage
        return replace(stage, pixels=self.scoring_pixels(stage))

    def scoring_pixels(self, stage: Stage) -> int:
        """Return the image size at which candidates are scored when training at ``stage``."""
        assert stage.pixels is not None
        return self.part.scoring_pixels(stage.pixels) if isinstance(self.part, Scored) else stage.pixels

    def on(self, progress: float) -> bool:
        """Return whether the next candidates will be selected from."""
        return self.loads_more and self.selection.on(self._turns, progress)

    def ready(self, raw: RawBatch, stage: Stage, select: bool) -> Iterator[Ready]:
        """Yield the training batches made of candidates, of a selection that loads more than it trains on.

        Parameters
        ----------
        raw
            Candidates from the loader, at ``self.stage(stage)``.
        stage
            Resolution and augmentation strength of training.
        select
            Whether to select; otherwise all candidates are trained on.
        """
        self._turns += 1
        if not select:
            if self.reread:
                with self._ledger.phase("wait"):
                    raw = self._loader.reread(raw, np.arange(len(raw)), stage)
            with self._ledger.phase("augment"):
                light = raw.augment()
            yield from self._full_batches(Rows.of(light), stage)
            return
        with self._ledger.phase("augment"):
            light = raw.augment()
        candidates = self.candidates_of(light, stage)
        with self._ledger.phase("score"):
            choice = self.selection.choose(candidates)
        # Losses under another network are not the run's.
        if candidates.losses is not None and self.own is None:
            self._feedback.add(light, candidates.losses, trained=False, without=choice.indices)
        if self.part.exact:
            ids = PendingIds(raw.ids, choice.indices)
            yield Ready(self._mixed(ids, *self._chosen(raw, light, choice, stage), stage), choice)
            return
        kept = raw.ids[choice.indices.cpu().numpy()]
        yield from self._full_batches(Rows(kept, *self._chosen(raw, light, choice, stage)), stage)

    def training_batch(self, light: Batch) -> Batch:
        """Return a batch to train on of loaded samples, without selecting: the first of them."""
        rows = Rows.of(light)[: self._batch_size]
        return Batch(rows.ids, (rows.images,), rows.targets)

    def score(self, light: Batch, stage: Stage) -> tuple[Tensor, Losses, Tensor]:
        """Score unmixed candidates by a forward pass; return outputs, losses, and the images as scored."""
        images, pixels = light.images, self.scoring_pixels(stage)
        height, width = images.shape[2:]
        if pixels != min(height, width):
            scale = pixels / min(height, width)
            size = [max(1, round(height * scale)), max(1, round(width * scale))]
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        outputs = self._scorer(images)
        with torch.no_grad():
            losses = self._method.losses(outputs, light.constituents(light.targets[LABEL]))
        return outputs, losses, images

    # --- State -------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all state that later batches depend on."""
        waiting = None
        if self._waiting is not None:
            rows = self._waiting
            targets = dict(rows.targets)
            waiting = {"ids": rows.ids, "images": rows.images, "targets": targets, "weights": rows.weights}
        return {"selection": self.selection.state_dict(), "turns": self._turns, "waiting": waiting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.selection.load_state_dict(state["selection"])
        self._turns = state["turns"]
        waiting = state["waiting"]
        self._waiting = None if waiting is None else Rows(**waiting).to(self._loader.device)

    # --- Steps of the driver -----------------------------------------------------------------------------

    def candidates_of(self, light: Batch, stage: Stage) -> Candidates:
        """Return augmented, unmixed candidates for the selection, with scores if it uses them."""
        ids, at, labels = light.ids, light.cursor, light.targets.get(LABEL)
        assert isinstance(ids, np.ndarray)
        assert at is not None
        keys = Keys(self._seed, at.round, at.step, ids, at.occurrences)
        uniforms = place(draw_uniforms(keys, "selection", 2), light.images.device)
        if not self.part.scores:
            return Candidates(ids, light.images, labels, uniforms, progress=self._account.progress)
        with self._ledger.phase("score"):
            outputs, losses, images = self.score(light, stage)
        self._account.charge("scored", len(ids) * self._world.size, self.scoring_pixels(stage))
        features, progress = self._scorer.features, self._account.progress
        return Candidates(ids, images, labels, uniforms, outputs, losses, features, progress)

    def _chosen(
        self, raw: RawBatch, light: Batch, choice: Choice, stage: Stage
    ) -> tuple[Tensor, Mapping[str, Tensor], Tensor | None]:
        """Return images at the training resolution, targets and weights of the chosen samples."""
        indices = choice.indices
        weights = choice.weights
        if light.weights is not None:
            of_order = light.weights.index_select(0, indices)
            weights = of_order if weights is None else of_order * weights
        if self.reread:
            with self._ledger.phase("wait"):
                raw = self._loader.reread(raw, indices.cpu().numpy(), stage)
            with self._ledger.phase("augment"):
                reread = raw.augment()
            return reread.images, reread.targets, weights
        # index_select on [n, C, H, W] would return images that are channels first in memory.
        pixels = light.images.permute(0, 2, 3, 1)
        images = pixels.index_select(0, indices).permute(0, 3, 1, 2)
        targets = {name: values.index_select(0, indices) for name, values in light.targets.items()}
        return images, targets, weights

    def _full_batches(self, rows: Rows, stage: Stage) -> Iterator[Ready]:
        """Yield full batches of the pending rows and ``rows``; keep the remainder for the next call."""
        if self._waiting is not None and self._waiting.images.shape[2:] == rows.images.shape[2:]:
            rows = self._waiting + rows
        # Samples of another resolution can't share a batch: the few pending ones are dropped.
        while len(rows) >= self._batch_size:
            full, rows = rows[: self._batch_size], rows[self._batch_size :]
            self._waiting = rows.apart()
            yield Ready(self._mixed(full.ids, full.images, full.targets, full.weights, stage))
        self._waiting = rows.apart()

    def _mixed(
        self,
        ids: Ids,
        images: Tensor,
        targets: Mapping[str, Tensor],
        weights: Tensor | None,
        stage: Stage,
    ) -> Batch:
        """Mix samples with each other and return their batch."""
        step, count = self._ledger.steps, len(ids)
        # The ids of chosen samples are on the device: per-sample draws are keyed by position in the run.
        first = (step * self._world.size + self._world.rank) * count
        keys = Keys(
            self._augment_seed,
            0,
            step,
            np.arange(first, first + count),
            np.zeros(count, np.int64),
            scope="selected/",
            magnitude=stage.magnitude,
            resolution=stage.resolution,
        )
        with self._ledger.phase("augment"):
            drawn = self._mixing.draw(keys, images.shape[2], images.shape[3])
            draws, mixture = drawn.to(images.device)
            images = self._mixing.transform(images, draws)
        return Batch(ids, (images,), targets, mixture, weights)
