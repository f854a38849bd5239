"""Builds a session: every part of a run, in its initial state."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pipeline import Augmentation, Loader
from pipeline.augment.center_crop import CenterCrop
from pipeline.augment.protocol import Cropping
from pipeline.loading.levels import check_bits
from pipeline.machine import share_of_cores
from pipeline.resolution import Stage, in_pixels
from samplers import Plan, Sampler, SamplingWarning, use_threads
from samplers.service import Service
from trainer.account import Account
from trainer.budget.flops import flops_by_pixels
from trainer.budget.planning import account_of, candidates_of, epochs_of, plan_of, rounds_of
from trainer.config import Run
from trainer.data import Data, digest
from trainer.evaluation import build_evaluators
from trainer.evaluators import EvaluatorContext
from trainer.feed import open_feeds
from trainer.feedback import FeedbackBuffer
from trainer.hardware.device import keep_freed_memory, use_bf16
from trainer.hardware.kernels import use_kernels
from trainer.hardware.precision import autocast
from trainer.inference.predict import View
from trainer.inference.scorer import Scorer
from trainer.learner import build_method, further_networks
from trainer.methods import Method
from trainer.optimizers.depths import depths_of
from trainer.parallel import World
from trainer.pretrained.from_data import training_images
from trainer.pretrained.normalization import normalization
from trainer.run_folder import RunFolder
from trainer.sample_table import SampleRecord
from trainer.scores.requested import RequestedScores
from trainer.selection import Owner, Selection, Setting, Terms
from trainer.selection.driver import Selector
from trainer.selection.hard_augment import HardAugment, HardAugmentSelection
from trainer.selection.pairs import PairSelector
from trainer.session import Session
from trainer.step import Step
from trainer.updates.annealing import end_early
from trainer.updates.average import Average
from trainer.updates.recomputation import Recomputation
from trainer.updates.update import Update

EVALUATION_BATCH = 512
"""Images per forward pass of the evaluation, on each rank."""


def build(
    run: Run,
    folder: RunFolder,
    data: Data,
    world: World,
    device: torch.device,
    bf16: bool | None = None,
    *,
    resumed: bool = False,
) -> Session:
    """Build a run's parts in their initial state.

    Parameters
    ----------
    bf16
        Whether the forward pass runs under bf16 autocast, as in an earlier session; None means as run and
        device determine.
    resumed
        Whether the weights are going to be those of a checkpoint, so that initial ones needn't be read.

    Raises
    ------
    RunError, DataError, SamplingError
        When a part refuses its options or its data.
    """
    if device.type == "cpu":
        keep_freed_memory()
    use_kernels(run, device)
    epochs = run.epochs if run.budget_hours is None else math.inf
    run = replace(run, selection=run.selection.bind(Terms(run.budget, epochs, run.batch_size)))
    card = data.train.card
    # The number of cores is determined in one place and passed to samplers.
    use_threads(share_of_cores())
    if bf16 is None:
        bf16 = use_bf16(run, device)
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    mean, std = normalization(run, card)
    augmentation = Augmentation(run.augment, mean=mean, std=std, dtype=dtype)
    check_bits(augmentation, data.train)
    candidates = candidates_of(run, data, world)
    open_loader = partial(
        Loader,
        engine=run.engine,
        device=device,
        rank=world.rank,
        world_size=world.size,
        prefetch=run.prefetch,
    )
    loader = open_loader(data.train, batch_size=candidates, augment=augmentation, seed=run.seed_of("augment"))
    test_loader = open_loader(data.test, batch_size=EVALUATION_BATCH * world.size)
    full = run.resolution.full(_native(augmentation, loader))
    if isinstance(run.selection, HardAugment):
        run.selection.check(full)
    flops = flops_by_pixels(run, card.spec, full, run.batch_size // world.size, card.channels)
    view = _view(run, augmentation, loader, full)
    images = training_images(data.train, view, device)
    method, module, report = build_method(run, card, world, device, dtype, resumed, images)
    if report is not None:
        data = replace(data, notes=(*data.notes, *report.notes()))
    if world.size > 1:
        # Ranks start with equal weights, and then drop out units of their own.
        torch.manual_seed(run.seed_of("init") + world.rank)
    setting = Setting(
        batch_size=run.batch_size // world.size,
        samples=len(data.train),
        device=device,
        world=world,
        model=method.encoder,
        digest=_digest(run, data),
        budget=run.budget,
        network=run.model,
        further=further_networks(run, method, card, world, device, bf16, images, resumed=resumed),
    )
    selection = run.selection.build(setting)
    account = account_of(
        run,
        data,
        device,
        world,
        flops.costs(full, charged=int(getattr(selection, "charged", 0))),
    )
    plan = plan_of(run, data, account, candidates, full)
    optimizer = run.optimizer.build(
        tuple((name, value) for name, value in method.named_parameters() if value.requires_grad),
        depths_of(method.encoder, "encoder."),
    )
    end_early(optimizer, method.encoder, run.train_until)
    average = None if run.ema is None else Average(method.encoder, run.ema)
    recomputation = Recomputation(method) if run.gradient_checkpointing else None
    fp16 = run.precision == "fp16"
    scaler = torch.amp.GradScaler(device.type) if fp16 else None
    update = Update(optimizer, run.clip_norm, average, recomputation, scaler)
    seeds = run.seed_of("order"), run.seed_of("augment")
    feedback = FeedbackBuffer(world)
    evaluated = EvaluatorContext(
        dataset=data.test,
        train=loader,
        test=test_loader,
        view=View(view.augmentation, Stage(in_pixels(run.evaluation_resolution, full))),
        bf16=bf16,
        world=world,
        multiplied=data.multiplied,
    )
    scores = RequestedScores(
        method,
        gradients=run.asks == "gradient",
        loader=loader,
        view=view,
        pixels=full,
        bf16=bf16,
        account=account,
        feedback=feedback,
        world=world,
    )
    return Session(
        run=run,
        folder=folder,
        data=data,
        world=world,
        device=device,
        bf16=bf16,
        account=account,
        plan=plan,
        run_rounds=rounds_of(run, data, account),
        sampler=Service(build_sampler(run, plan), plan, mode=run.service, lead=run.lead),
        loader=loader,
        test_loader=test_loader,
        full=full,
        view=view,
        evaluators=build_evaluators(run.evaluator, evaluated),
        method=method,
        selector=_selector(run, selection, augmentation, method, bf16, loader, account, feedback, world),
        step=Step(
            method,
            module,
            optimizer,
            autocast(device, bf16, fp16=fp16),
            account.ledger,
            update=None if update.plain else update,
            micro_batches=run.accumulate,
        ),
        average=average,
        schedule=run.schedule.bind(epochs_of(data, account)),
        feedback=feedback,
        scores=scores,
        feeds=open_feeds(run, data, account, augmentation.parted()[0], seeds, open_loader, world.size),
        samples=SampleRecord.empty(len(data.train)),
        behind=device.type == "cuda",
    )


def build_sampler(run: Run, plan: Plan) -> Sampler:
    """Return a run's sampler, without its warnings, which the watcher shows as notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return run.sampler.build(plan)


def _native(augmentation: Augmentation, loader: Loader) -> int | None:
    """Return the image size without a resolution of the run's own."""
    first = augmentation.parts[0] if augmentation.parts else None
    if isinstance(first, Cropping) and first.size is not None:
        return min(first.size_of(1, 1))
    return None if loader.shape is None else min(loader.shape)


def _digest(run: Run, data: Data) -> str | None:
    """Return the digest that scores files must name; None if the run accepts others."""
    return None if run.accept_changed_data else digest(data.train)


def _view(run: Run, augmentation: Augmentation, loader: Loader, full: int) -> View:
    """Return how images are prepared for evaluation: whole, or their central crop."""
    fraction = run.evaluation_crop
    if fraction is None and loader.shape is None:
        fraction = CenterCrop().fraction
    return View(
        augmentation.plain() if fraction is None else augmentation.plain(CenterCrop(fraction=fraction)),
        Stage(full),
    )


def _selector(
    run: Run,
    selection: Selection,
    augmentation: Augmentation,
    method: Method,
    bf16: bool,
    loader: Loader,
    account: Account,
    feedback: FeedbackBuffer,
    world: World,
) -> Selector:
    network = selection.own.network if isinstance(selection, Owner) else method.encoder
    scorer = Scorer(
        network, run.scoring, bf16=bf16, compiled=run.compile, keeps_features=run.selection.features
    )
    parts: dict[str, Any] = {
        "augmentation": augmentation,
        "scorer": scorer,
        "method": method,
        "loader": loader,
        "account": account,
        "feedback": feedback,
        "world": world,
        "views": run.method.views,
        "batch_size": run.batch_size // world.size,
        "augment_seed": run.seed_of("augment"),
        "seed": run.seed_of("selection"),
        # If the set has its images at lower resolutions, candidates are read from those.
        "reread": run.selection.scores and bool(loader.dataset.levels) and augmentation.cropping is not None,
    }
    if isinstance(run.selection, HardAugment):
        assert isinstance(selection, HardAugmentSelection)
        return PairSelector(run.selection, selection, bf16=bf16, compiled=run.compile, **parts)
    return Selector(run.selection, selection, **parts)
