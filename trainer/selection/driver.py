"""From loaded candidates to batches to train on: score, select, mix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch, Chain, Loader
from pipeline.randomness import Keys
from pipeline.randomness import uniforms as draw_uniforms
from pipeline.resolution import Stage
from pipeline.transfer import place
from trainer.account import Account
from trainer.feedback import FeedbackBuffer
from trainer.inference.scorer import Scorer
from trainer.methods import Losses, Method
from trainer.parallel import World
from trainer.selection import Candidates, Choice, Mixture, Selection, SelectionPart, Weighting
from trainer.selection.helpers.schedule import Scored
from trainer.selection.pool import Rows


@dataclass(frozen=True, slots=True)
class Ready:
    """A batch to train on.

    Attributes
    ----------
    batch
        Augmented, mixed and normalised. Where ``choice`` is there, its ids and owners are positions within
        the chosen, whose ids only the device knows.
    mixture
        What each image is made of; None where the loader mixed, before any selection.
    choice
        Which of the candidates they are; None where the host knows the ids.
    candidates
        int64[n], the ids that ``choice`` speaks of.
    """

    batch: Batch
    mixture: Mixture | None = None
    choice: Choice | None = None
    candidates: NDArray[np.int64] | None = None


class Selector:
    """Turns each batch of candidates into none, one or several batches to train on.

    Light augmentation, scoring, selection, mixing, in this order: what is scored is the crop that is
    trained, with its own label, and only selected samples are mixed with each other. A selection that loads
    no more than it trains on passes every batch through as the loader drew it.

    Parameters
    ----------
    part, selection
        What selects.
    chain
        The run's whole augmentation.
    scorer
        How the network scores.
    batch_size
        Samples a step on this rank.
    augment_seed, seed
        Of mixing, and of selection.
    reread
        Whether candidates come at the resolution of scoring, and the selected ones are read again.
    """

    def __init__(
        self,
        part: SelectionPart,
        selection: Selection,
        *,
        chain: Chain,
        scorer: Scorer,
        method: Method,
        loader: Loader,
        account: Account,
        feedback: FeedbackBuffer,
        world: World,
        batch_size: int,
        augment_seed: int,
        seed: int,
        reread: bool,
    ) -> None:
        self.part = part
        self.selection = selection
        # Looking through a protocol takes as long as a small kernel: once a run is enough.
        self.weighting = selection if isinstance(selection, Weighting) else None
        self.loads_more = part.ratio > 1 or part.scores
        light, self._mixing = chain.parted()
        self.chain = light if self.loads_more else chain
        self.reread = reread
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
        self._turns = 0
        self._waiting: Rows | None = None

    def stage(self, stage: Stage) -> Stage:
        """What the loader is to deliver candidates at, for training at ``stage``."""
        if not self.reread:
            return stage
        return replace(stage, pixels=self.scoring_pixels(stage))

    def scoring_pixels(self, stage: Stage) -> int:
        """Pixels of the shorter side at which candidates are scored when training at ``stage``."""
        assert stage.pixels is not None
        return self.part.scoring_pixels(stage.pixels) if isinstance(self.part, Scored) else stage.pixels

    def on(self, progress: float) -> bool:
        """Whether the next candidates will be selected from."""
        return self.loads_more and self.selection.on(self._turns, progress)

    def ready(self, raw: Batch, stage: Stage, select: bool) -> Iterator[Ready]:
        """Give the batches to train on that candidates make.

        Parameters
        ----------
        raw
            From the loader, at ``self.stage(stage)``.
        stage
            What is trained on.
        select
            Whether to select; else candidates are trained as they come.
        """
        if not self.loads_more:
            with self._ledger.phase("augment"):
                batch = self.chain.apply(raw)
            yield Ready(batch)
            return
        self._turns += 1
        if not select:
            if self.reread:
                raw = self._loader.again(raw, np.arange(len(raw.ids)), self.chain, stage)
            with self._ledger.phase("augment"):
                light = self.chain.apply(raw)
            yield from self._full_batches(Rows.of(light), stage)
            return
        with self._ledger.phase("augment"):
            light = self.chain.apply(raw)
        candidates = self.candidates_of(light, stage)
        with self._ledger.phase("score"):
            choice = self.selection.choose(candidates)
        if candidates.losses is not None:
            self._feedback.add(light, candidates.losses, trained=False, without=choice.places)
        if self.part.exact:
            yield self._mixed(self._chosen(light, choice, stage), stage, choice, light.ids)
            return
        kept = choice.places.cpu().numpy()
        rows = self._chosen(light, choice, stage)
        yield from self._full_batches(replace(rows, ids=light.ids[kept]), stage)

    def score(self, light: Batch, stage: Stage) -> tuple[Tensor, Losses, Tensor]:
        """Show light candidates to the network: outputs, losses, and the images as it saw them."""
        images, pixels = light.images, self.scoring_pixels(stage)
        height, width = images.shape[2:]
        if pixels != min(height, width):
            scale = pixels / min(height, width)
            size = [max(1, round(height * scale)), max(1, round(width * scale))]
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        outputs = self._scorer(images)
        with torch.no_grad():
            losses = self._method.losses(outputs, light.labels)
        return outputs, losses, images

    # --- State -------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that later batches depend on."""
        waiting = None
        if self._waiting is not None:
            rows = self._waiting
            waiting = {"ids": rows.ids, "images": rows.images, "labels": rows.labels, "weights": rows.weights}
        return {"selection": self.selection.state_dict(), "turns": self._turns, "waiting": waiting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.selection.load_state_dict(state["selection"])
        self._turns = state["turns"]
        self._waiting = None if state["waiting"] is None else Rows(**state["waiting"])

    # --- Parts of the way --------------------------------------------------------------------------------

    def candidates_of(self, light: Batch, stage: Stage) -> Candidates:
        """Give the selection's view of lightly augmented candidates; scores them where it wants scores."""
        assert light.occurrences is not None
        keys = Keys(self._seed, light.round, light.step, light.ids, light.occurrences)
        uniforms = place(draw_uniforms(keys, "selection", 2), light.images.device)
        if not self.part.scores:
            return Candidates(light.ids, light.images, light.labels[:, 0], uniforms)
        with self._ledger.phase("score"):
            outputs, losses, images = self.score(light, stage)
        self._account.charge("scored", len(light.ids) * self._world.size, self.scoring_pixels(stage))
        return Candidates(
            light.ids, images, light.labels[:, 0], uniforms, outputs, losses, self._scorer.features
        )

    def _chosen(self, light: Batch, choice: Choice, stage: Stage) -> Rows:
        """The chosen samples at the resolution of training; ids are positions among them."""
        places = choice.places
        weights = choice.weights
        if light.weights is not None:
            of_order = light.weights[:, 0].index_select(0, places)
            weights = of_order if weights is None else of_order * weights
        if self.reread:
            raw = self._loader.again(light, places.cpu().numpy(), self.chain, stage)
            with self._ledger.phase("augment"):
                again = self.chain.apply(raw)
            images, labels = again.images, again.labels[:, 0]
        else:
            # Picking images of [n, C, H, W] would lay the picked ones out anew, channels first.
            pixels = light.images.permute(0, 2, 3, 1)
            images = pixels.index_select(0, places).permute(0, 3, 1, 2)
            labels = light.labels[:, 0].index_select(0, places)
        return Rows(np.arange(len(places), dtype=np.int64), images, labels, weights)

    def _full_batches(self, rows: Rows, stage: Stage) -> Iterator[Ready]:
        """Give whole batches of what waits and ``rows``, and let the rest wait."""
        if self._waiting is not None and self._waiting.images.shape[2:] == rows.images.shape[2:]:
            rows = self._waiting + rows
        # Samples of another resolution can't share a batch: those few that waited are given up.
        while len(rows) >= self._batch_size:
            batch, rows = rows[: self._batch_size], rows[self._batch_size :]
            self._waiting = rows.apart()
            yield self._mixed(batch, stage)
        self._waiting = rows.apart()

    def _mixed(
        self,
        rows: Rows,
        stage: Stage,
        choice: Choice | None = None,
        candidates: NDArray[np.int64] | None = None,
    ) -> Ready:
        """Mix a batch's samples with each other."""
        step, count = self._ledger.steps, len(rows)
        # The ids of chosen samples are on the device: draws a sample go by its place in the run.
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
        drawn = self._mixing.draw(keys, rows.images.shape[2], rows.images.shape[3])
        device = rows.images.device
        with self._ledger.phase("augment"):
            draws = tuple({name: place(array, device) for name, array in one.items()} for one in drawn.parts)
            images = self._mixing.transform(rows.images, draws)
            partners = place(drawn.partners, device)
            labels = rows.labels.index_select(0, partners.flatten()).view(partners.shape)
            weights = rows.weights
            if weights is not None:
                weights = weights.index_select(0, partners.flatten()).view(partners.shape)
        batch = Batch(
            round=0,
            step=step,
            ids=rows.ids,
            images=images,
            labels=labels,
            shares=place(drawn.shares.copy(), device),
            owners=rows.ids[drawn.partners],
            owner_shares=drawn.shares,
            weights=weights,
        )
        return Ready(batch, Mixture(partners, batch.shares), choice, candidates)
