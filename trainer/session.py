"""A session: the parts of one run, built from its recipe, and their state as one checkpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import nn

from pipeline import Chain, Loader
from pipeline.loader import LoaderTimes
from samplers import Order, Plan
from samplers.service import Service
from trainer import checkpoint
from trainer.config import Run
from trainer.data import Data
from trainer.device import use_bf16
from trainer.errors import DivergedError, RunError
from trainer.feedback import FeedbackBuffer
from trainer.ledger import Ledger
from trainer.parallel import World
from trainer.record import RunFolder
from trainer.samples import SampleRecord
from trainer.schedules import Schedule
from trainer.step import Step

EVALUATION_BATCH = 512
"""Images a forward pass of the evaluation, on each rank."""


@dataclass(slots=True)
class Session:
    """Everything that the training loop uses, and the place it has reached.

    Attributes
    ----------
    order
        The round under way; None before the first and between rounds.
    done
        Batches of ``order`` that have been trained.
    """

    run: Run
    folder: RunFolder
    data: Data
    world: World
    device: torch.device
    bf16: bool
    ledger: Ledger
    plan: Plan
    sampler: Service
    loader: Loader
    test_loader: Loader
    chain: Chain
    plain_chain: Chain
    model: nn.Module
    step: Step
    schedule: Schedule
    feedback: FeedbackBuffer
    samples: SampleRecord
    order: Order | None = None
    done: int = 0

    def count_step(self) -> None:
        """Count a step that was just made, and the samples that it showed on all ranks."""
        assert self.order is not None
        size = self.run.batch_size
        self.samples.count(self.order.ids[self.done * size : (self.done + 1) * size])
        self.done += 1
        self.ledger.steps += 1
        self.ledger.trained += size

    def collect(self) -> list[float]:
        """Bring feedback from the device to the sampler and the record.

        Returns
        -------
        list of float
            Each step's mean loss since the last call, over all ranks.

        Raises
        ------
        DivergedError
            When a loss is not a finite number.
        """
        times, self.loader.times = self.loader.times, LoaderTimes()
        self.ledger.add("wait", times.wait)
        self.ledger.add("copy", times.copy)
        steps = len(self.feedback)
        if steps == 0:
            return []
        with self.ledger.phase("feedback"):
            heard = self.feedback.drain(self.ledger.steps)
        share = 1.0 if heard.share is None else heard.share
        losses: list[float] = []
        # Scored batches make no step and are collected apart from trained ones.
        if heard.trained.all():
            losses = ((heard.loss * share).reshape(steps, -1).sum(axis=1) / self.run.batch_size).tolist()
        self._check_finite(losses)
        with self.ledger.phase("feedback"):
            self.sampler.observe(heard)
            self.samples.observe(heard)
        return losses

    def _check_finite(self, losses: Sequence[float]) -> None:
        broken = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        if not broken:
            return
        step = self.ledger.steps - len(losses) + 1 + broken[0]
        kept = self.folder.checkpoint
        last = f"last good checkpoint: {kept}" if kept.exists() else f"record up to there: {self.folder.path}"
        raise DivergedError(
            f"loss must be finite; got {losses[broken[0]]} at step {step:,}; "
            f"lower --lr or give --precision fp32; {last}"
        )

    # --- Checkpoints -------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint from which the run ends with the same weights."""
        with self.ledger.phase("checkpoint"):
            self.world.share_buffers(self.model)
            if not self.world.leads:
                return
            state = {
                "model": self.model.state_dict(),
                "optimizer": self.step.optimizer.state_dict(),
                "sampler": self.sampler.state_dict(),
                "samples": {name: getattr(self.samples, name) for name in SampleRecord.__slots__},
                "order": None if self.order is None else _order_state(self.order),
                "done": self.done,
                "torch_rng": torch.get_rng_state(),
            }
            checkpoint.save(self.folder.checkpoint, {**state, "ledger": self.ledger.state_dict()})

    def resume(self) -> bool:
        """Go on from the folder's checkpoint where there is one; returns whether there was."""
        path = self.folder.checkpoint
        if not path.exists():
            return False
        state = checkpoint.load(path, self.device)
        self.model.load_state_dict(state["model"])
        self.step.optimizer.load_state_dict(state["optimizer"])
        self.sampler.load_state_dict(state["sampler"])
        self.samples = SampleRecord(**state["samples"])
        self.order = None if state["order"] is None else Order(**state["order"])
        self.done = state["done"]
        torch.set_rng_state(state["torch_rng"].cpu())
        self.ledger.load_state_dict(state["ledger"])
        return True

    def fingerprint(self) -> str:
        """Digest of all weights and statistics, to tell whether two runs ended alike."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def asks_ahead(self) -> bool:
        """Whether the sampler is to draw its next order from the feedback up to the step just made.

        Feedback is then collected whatever the log's rhythm, so that orders depend on steps alone.
        """
        if self.run.lead == 0 or self.order is None:
            return False
        steps = len(self.order.ids) // self.run.batch_size
        return self.done == max(1, steps - self.run.lead)

    def close(self) -> None:
        """Let go of readers, the sampler's service and their threads."""
        self.sampler.close()
        self.loader.close()
        self.test_loader.close()


def _order_state(order: Order) -> dict[str, Any]:
    return {item.name: getattr(order, item.name) for item in fields(order)}


def build(run: Run, folder: RunFolder, data: Data, world: World, device: torch.device) -> Session:
    """Build a run's parts, at their beginning.

    Raises
    ------
    RunError, DataError, SamplingError
        When a part refuses its options or its data.
    """
    card = data.train.card
    bf16 = use_bf16(run, device)
    plan = Plan(
        samples=len(data.train),
        epochs=run.epochs,
        budget=run.budget,
        batch_size=run.batch_size,
        seed=run.seed if run.order_seed is None else run.order_seed,
        round_length=run.round_length,
        labels=data.train.labels,
    )
    if plan.steps == 0:
        raise RunError(
            f"a budget must hold at least one batch of {run.batch_size:,}; {run.budget:g} of {run.epochs:g} "
            f"epochs of {len(data.train):,} samples is {plan.total:,}"
        )
    torch.manual_seed(run.seed if run.init_seed is None else run.init_seed)
    model = run.model.build(classes=len(card.classes)).to(device)
    if run.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=run.lr,
        momentum=run.momentum,
        nesterov=run.nesterov,
        weight_decay=run.weight_decay,
        fused=True,
    )
    wrapped = world.wrap(model, device)
    if run.compile:
        wrapped = torch.compile(wrapped)  # type: ignore[assignment]
    mean, std = run.mean or card.mean, run.std or card.std
    chain = Chain(run.augment, mean=mean, std=std)
    ledger = Ledger(device)
    open_loader = partial(Loader, engine=run.engine, device=device, rank=world.rank, world_size=world.size)
    return Session(
        run=run,
        folder=folder,
        data=data,
        world=world,
        device=device,
        bf16=bf16,
        ledger=ledger,
        plan=plan,
        sampler=Service(run.sampler.build(plan), plan, mode=run.service, lead=run.lead),
        loader=open_loader(
            data.train,
            batch_size=run.batch_size,
            augment=chain,
            seed=run.seed if run.augment_seed is None else run.augment_seed,
        ),
        test_loader=open_loader(data.test, batch_size=EVALUATION_BATCH * world.size),
        chain=chain,
        plain_chain=chain.plain(),
        model=model,
        step=Step(wrapped, run.method, optimizer, bf16, ledger),
        schedule=run.schedule.bind(plan.total / plan.samples),
        feedback=FeedbackBuffer(world),
        samples=SampleRecord.empty(len(data.train)),
    )
