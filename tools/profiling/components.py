"""Times every component of a training step alone, on a few batches in memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle, islice

import numpy as np
from torch import Tensor

from pipeline import AUGMENTS, Augmentation, Loader, RawBatch
from pipeline.augment import Augment
from pipeline.randomness import Keys
from samplers import Feedback
from tools.profiling import reference
from tools.profiling.loading import Loading, Whole
from tools.profiling.reference import Reference
from tools.profiling.timing import Alone, Work
from trainer.build import build_sampler
from trainer.methods import Losses
from trainer.selection import Weighting
from trainer.selection.driver import Ready
from trainer.session import Session

BATCHES = 4
"""Number of batches that the components process in turn."""

PART = "augmentation/"
"""Prefix of the names of single augmentations."""

_ROUNDS = 20
"""Orders that a sampler draws before it is timed: many don't use losses for the first ones."""

_ROUNDS_SECONDS = 2.0
"""Seconds after which no further order is drawn before."""

_LOADER_WINDOWS = 3
"""Windows of loading per number of threads."""

_TURNS = 240

_PHASES = {"forward": "forward", "backward": "backward", "optimize": "optimizer"}
"""Phases of the ledger, and the corresponding components."""


class Stages:
    """The components of a session whose round has begun, ready to be timed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._raws = list(islice(session.candidates(), BATCHES))
        self._cached = cycle(self._raws)
        self._on = _share_of_turns(session)
        # A batch of candidates without selection is trained on as a whole, in several steps.
        self._steps = self._on + (1 - self._on) * session.loader.batch_size / session.run.batch_size
        self._ready = self._first_ready()
        stage = replace(session.stage, pixels=session.pixels)
        self._streams = {feed.name: feed.first(stage) for feed in session.feeds}
        self.loading = Loading(session, self._raws)
        self.reference = Reference(session.device)

    def close(self) -> None:
        """Close resources opened for the components."""
        self.reference.close()
        self.loading.close()

    @property
    def beside(self) -> frozenset[str]:
        """Names of the components that run concurrently with training, in a separate thread or process."""
        ahead = self._session.run.service != "inline" and self._session.run.lead > 0
        return self.loading.beside | frozenset({"order"} if ahead else ())

    def works(self) -> list[Work]:
        """Return the components to time, in their order within a step."""
        works: list[Work] = [self._order(), *self.loading.works(self._steps), *self._augmentation()]
        if self._session.selector.loads_more:
            works += self._of_the_chosen()
            works += [self._selection()] if self._on else []
        whole = Whole(self._session, self._session.loader, self._steps)
        return [
            *works,
            self._training,
            self._feedback(),
            self._alone("cached", self.cached, self._steps),
            whole,
            self._alone(reference.NAME, self.reference.call),
        ]

    @property
    def raw(self) -> RawBatch:
        """A batch of the loader."""
        return self._raws[0]

    @property
    def steps(self) -> float:
        """Training steps per batch of the loader."""
        return self._steps

    def loading_with(self, threads: int) -> list[float]:
        """Return seconds per batch of windows of loading with another number of the engine's threads."""
        session, run = self._session, self._session.run
        loader = Loader(
            session.data.train,
            engine=replace(run.engine, threads=threads),  # type: ignore[type-var]
            batch_size=session.loader.batch_size,
            augment=session.loader.augment,
            seed=session.loader.seed,
            device=session.device,
            prefetch=run.prefetch,
        )
        with loader:
            whole = Whole(session, loader, self._steps)
            return [whole.seconds() for _ in range(_LOADER_WINDOWS + 1)][1:]

    def cached(self) -> None:
        """Make all of the steps of a batch in memory but loading: augment, select, train."""
        session = self._session
        for ready in session.ready(next(self._cached), self._on > 0):
            session.train(ready)
        session.feedback.clear()

    def train(self) -> None:
        """Train on a batch that is ready: forward, backward and update."""
        self._step()

    def _first_ready(self) -> Ready:
        """Return a batch to train on, made as by the training loop."""
        for raw in cycle(self._raws):
            for ready in self._session.ready(raw, self._on > 0):
                return ready
        raise AssertionError("a round has batches")

    # --- Orders ------------------------------------------------------------------------------------------

    def _order(self) -> Alone:
        """Return the drawing of a round's order, given the losses of the previous round."""
        plan, run, last = self._session.plan, self._session.run, self._session.order
        assert last is not None
        loss = np.linspace(0.1, 2, len(last.ids), dtype=np.float32)
        trained = np.ones(len(loss), np.bool_)
        feedback = Feedback(0, last.ids, loss, np.exp(-loss), trained, error=loss, gradient=loss)
        shadow, drawn = build_sampler(run, plan), 0

        def draw() -> int:
            nonlocal shadow, drawn
            if drawn >= shadow.rounds:
                shadow, drawn = build_sampler(run, plan), 0
            shadow.observe(feedback)
            drawn += 1
            return len(shadow.next_order().ids)

        drawings, end = [draw()], time.perf_counter() + _ROUNDS_SECONDS
        while len(drawings) < _ROUNDS and time.perf_counter() < end:
            drawings.append(draw())
        steps = sum(drawings) / len(drawings) / plan.batch_size
        return self._alone("order", draw, self._steps * steps)

    # --- On the device -----------------------------------------------------------------------------------

    def _augmentation(self) -> list[Alone]:
        """Return the augmentation as a whole, then each part of it on the output of the previous one."""
        augmentation = self._session.selector.augmentation
        raws, view = cycle(self._raws), self._raws[0].views[0]
        works = [self._alone("augmentation", lambda: next(raws).augment(), self._steps)]
        sized, images = augmentation.at(view.size), view.images
        normal, names = not sized.normalizes, Counter[str]()
        for part, draws in list(zip(sized.parts, view.draws, strict=True))[view.cropped :]:
            if part.domain == "float" and not normal:
                works.append(self._normalization(sized, images))
                images, normal = sized.normalize(images), True
            name = _name(part)
            names[name] += 1
            name = name if names[name] == 1 else f"{name} ({names[name]})"
            works.append(self._alone(PART + name, partial(part.apply, images, draws), self._steps))
            images = part.apply(images, draws)
        return works if normal else [*works, self._normalization(sized, images)]

    def _normalization(self, augmentation: Augmentation, images: Tensor) -> Alone:
        return self._alone(PART + "normalization", partial(augmentation.normalize, images), self._steps)

    def _of_the_chosen(self) -> list[Alone]:
        """Return the work on selected samples: rereading if they were scored at another size, and mixing."""
        session, works = self._session, []
        if session.selector.reread:
            chosen, stage = np.arange(session.run.batch_size), session.stage
            again, full = cycle(self._raws), session.loader.reread(self._raws[0], chosen, stage)
            works += [
                self._alone("reading again", lambda: session.loader.reread(next(again), chosen, stage)),
                self._alone("augmenting again", full.augment),
            ]
        whole = session.loader.augment
        if isinstance(whole, Augmentation) and (mixing := whole.parted()[1]).parts:
            images = self._ready.batch.images
            indices = np.arange(len(images), dtype=np.int64)
            keys = Keys(session.loader.seed, 0, 0, indices, np.zeros_like(indices), scope="selected/")

            def mix() -> Tensor:
                draws, _ = mixing.draw(keys, *images.shape[2:]).to(images.device)
                return mixing.transform(images, draws)

            works.append(self._alone("mixing", mix))
        return works

    def _selection(self) -> Alone:
        """Return the selection: scoring if it scores, choosing, and its update from the losses of a step."""
        session, selector = self._session, self._session.selector
        lights = cycle([raw.augment() for raw in self._raws])
        ready, losses = self._ready, self._step()

        def select() -> None:
            selector.selection.choose(selector.candidates_of(next(lights), session.stage))
            selector.selection.observe(losses, ready.batch, ready.choice)

        name = "scoring" if selector.part.scores else "selecting"
        return self._alone(name, select, self._steps / self._on)

    def _training(self) -> dict[str, float]:
        """Make one step on one batch, and return its seconds by the ledger's phases."""
        ledger = self._session.ledger
        ledger.settle()
        before = dict(ledger.seconds)
        self._step()
        ledger.settle()
        return {name: ledger.seconds[phase] - before[phase] for phase, name in _PHASES.items()}

    def _step(self) -> Losses:
        selection = self._session.selector.selection
        weighting = selection if isinstance(selection, Weighting) else None
        return self._session.step(self._ready.batch, weighting, self._streams, progress=1.0)

    def _feedback(self) -> Alone:
        """Return the transfer of losses to the sampler, at the run's logging interval."""
        session, batch = self._session, self._ready.batch
        losses, steps = self._step(), session.run.log_every

        def collect() -> None:
            for _ in range(steps):
                session.feedback.add(batch, losses)
            session.collect()

        return self._alone("feedback", collect, steps)

    def _alone(self, name: str, call: Callable[[], object], steps: float = 1.0) -> Alone:
        return Alone(name, call, steps, self._session.device)


def _share_of_turns(session: Session) -> float:
    """Return the current fraction of candidate batches that are selected from."""
    selector, progress = session.selector, session.account.progress
    if not selector.loads_more:
        return 0.0
    return sum(selector.selection.on(turn, progress) for turn in range(_TURNS)) / _TURNS


def _name(part: Augment) -> str:
    """Return the augmentation's name in recipes; "resizing" for inserted ones."""
    return next((name for name, cls in AUGMENTS.items() if cls is type(part)), "resizing")
