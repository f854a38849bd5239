"""A hand-written training loop: data on the device, crop and flip by indexing, cross-entropy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.gpu.outcome import MACHINE_ERRORS, Outcome, Row, Setting, first_line
from tools.gpu.timing import launches, timed
from tools.profiling.timing import wait_for
from trainer.hardware.compiling import keep_kernels_by_processor
from trainer.models import MODELS

IMAGES = 4096
SIDE = 32


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of the step."""

    name: str
    benchmark: bool = False
    compile: bool = False
    graphs: bool = False


VARIANTS = (
    Variant("eager"),
    Variant("eager, cudnn.benchmark", benchmark=True),
    Variant("compiled", benchmark=True, compile=True),
    Variant("compiled, CUDA graphs", benchmark=True, compile=True, graphs=True),
)


def check(setting: Setting) -> Outcome:
    """Time the hand-written step of ResNet-18 at two batch sizes: an upper limit for the loop's rate."""
    device, rows, outcome = torch.device(setting.device), [], Outcome()
    cases = [(variant, batch) for batch in (128, 1024) for variant in VARIANTS]
    before = torch.backends.cudnn.benchmark
    try:
        for variant, batch in setting.clock.cases([(VARIANTS[0], 8)] if setting.smoke else cases):
            torch.backends.cudnn.benchmark = variant.benchmark
            try:
                rows.append(_row(variant, batch, device, setting.smoke))
            except MACHINE_ERRORS as error:
                wait_for(device)  # Raises if the device itself has failed; else the other variants are valid.
                outcome.notes.append(f"{variant.name}, batches of {batch}: {first_line(error)}")
    finally:
        torch.backends.cudnn.benchmark = before
        torch._dynamo.reset()
    outcome.tables["ResNet-18 on 32 pixels, bf16 autocast"] = rows
    return outcome


def _row(variant: Variant, batch: int, device: torch.device, smoke: bool) -> Row:
    torch.manual_seed(0)
    part = MODELS["resnet8"](width=2) if smoke else MODELS["resnet18"]()  # type: ignore[call-arg]
    model = part.build(classes=10).to(device).to(memory_format=torch.channels_last)
    begin = time.perf_counter()
    step = plain_step(model, batch, device, variant)
    repeats, warmup = (2, 1) if smoke else (40, 8)
    times = timed(step, device, repeats, warmup)
    seconds = time.perf_counter() - begin - times.whole * repeats / 1e3
    launched = None if variant.compile else launches(step, device)
    return {
        "step": f"{variant.name}, {batch}",
        "images/s": 1e3 * batch / times.whole,
        "ms": times.whole,
        "host ms": times.host,
        "busy ms": None if launched is None else launched.busy,
        "kernels": None if launched is None else launched.kernels,
        "set up, s": seconds,
    }


def plain_step(model: nn.Module, batch: int, device: torch.device, variant: Variant) -> Callable[[], None]:
    """Return a training step with random crops and flips of ``batch`` images that are on the device."""
    images = torch.randint(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 10, (IMAGES,), device=device)
    offsets = torch.arange(SIDE, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4, fused=True)

    def loss_of(ids: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
        rows = (top[:, None] + offsets).clamp(0, SIDE - 1)
        columns = (left[:, None] + offsets).clamp(0, SIDE - 1)
        columns = torch.where(flip[:, None], columns.flip(1), columns)
        chosen = images[ids[:, None, None], rows[:, :, None], columns[:, None, :]].float() / 64 - 2
        with torch.autocast(device.type, torch.bfloat16):
            outputs = model(chosen.permute(0, 3, 1, 2))
        return F.cross_entropy(outputs.float(), labels[ids])

    if variant.compile:
        keep_kernels_by_processor()
        mode = "reduce-overhead" if variant.graphs else None
        loss_of = torch.compile(loss_of, dynamic=False, mode=mode)

    def step() -> None:
        ids = torch.randint(0, IMAGES, (batch,), device=device)
        top, left = torch.randint(-4, 5, (2, batch), device=device)
        loss = loss_of(ids, top, left, torch.rand(batch, device=device) < 0.5)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
