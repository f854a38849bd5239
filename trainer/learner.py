"""The method of a run around its network, and further networks: with initial weights, on the device."""

from __future__ import annotations

import math

import torch
from torch import nn

from pipeline.formats.card import Card
from trainer.config import Run
from trainer.further import FurtherNetwork, MakeFurther
from trainer.hardware.compiling import compiled_by_resolution
from trainer.hardware.precision import autocast
from trainer.methods import Method
from trainer.models import ModelConfig
from trainer.models.channels import with_channels
from trainer.models.counters import drop_counters
from trainer.models.narrow import guard_narrow
from trainer.optimizers.depths import depths_of
from trainer.parallel import World
from trainer.pretrained.freezing import freeze
from trainer.pretrained.from_data import Batches, begin_from_data
from trainer.pretrained.initialize import LoadReport, initialize
from trainer.settings.fitting import outputs
from trainer.slots import SLOTS
from trainer.updates.recomputation import checkpoint_gradients


def further_networks(
    run: Run,
    method: Method,
    card: Card,
    world: World,
    device: torch.device,
    bf16: bool,
    images: Batches,
    *,
    resumed: bool,
) -> MakeFurther:
    """Return the maker of further networks, which are trained as ``method``'s encoder is.

    Their initial weights come from the seed of the selection; torch's global generator stays as it is.

    Parameters
    ----------
    resumed
        Whether their weights are going to be those of a checkpoint.
    """
    epochs = math.inf if run.budget_hours is not None else run.epochs * run.budget

    def make(config: ModelConfig) -> FurtherNetwork:
        first = next(method.parameters())
        usual = torch.get_default_dtype()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed_of("selection"))
            torch.set_default_dtype(first.dtype)
            try:
                network = with_channels(config.build(outputs(run.method, card.spec)), card.channels)
                if not resumed:
                    begin_from_data(network, images)
            finally:
                torch.set_default_dtype(usual)
        network = network.to(device)
        if run.channels_last:
            network = network.to(memory_format=torch.channels_last)
        guard_narrow(network)
        drop_counters(network)
        trained = tuple((name, value) for name, value in network.named_parameters() if value.requires_grad)
        return FurtherNetwork(
            network,
            world.wrap(network, device),
            method.losses,
            run.optimizer.build(trained, depths_of(network)),
            run.schedule.bind(epochs),
            run.optimizer.momentum_key,
            autocast(device, bf16),
        )

    return make


def build_method(
    run: Run,
    card: Card,
    world: World,
    device: torch.device,
    dtype: torch.dtype,
    resumed: bool,
    images: Batches,
) -> tuple[Method, nn.Module, LoadReport | None]:
    """Return the method, the module that steps call, and the report of the initial weights.

    The module is wrapped for ranks, and compiled if requested. A resumed run's weights come from its
    checkpoint, whether its initial weights still exist or not.

    Parameters
    ----------
    images
        Reads training images, for networks that compute initial weights from them.

    Raises
    ------
    RunError
        When the network can't be that of these images, or its initial weights or frozen parts don't fit it.
    """
    torch.manual_seed(run.seed_of("init"))
    # Weights are drawn in double precision, too: normal variates in float32 differ between processors.
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        network = run.model.build(classes=outputs(run.method, card.spec))
        network = with_channels(network, card.channels)
        if not resumed:
            begin_from_data(network, images)
        report = None if resumed else initialize(run, network)
        freeze(network, run.freeze)
        if run.gradient_checkpointing:
            checkpoint_gradients(network, SLOTS["model"].named(run))
        method = run.method.build(network)
        method.begin(card.class_counts)
        method = method.to(device)
    finally:
        torch.set_default_dtype(usual)
    if run.channels_last:
        method = method.to(memory_format=torch.channels_last)
    guard_narrow(method)
    drop_counters(method)
    wrapped = world.wrap(method, device)
    if run.compile:
        wrapped = compiled_by_resolution(wrapped)
    return method, wrapped, report
