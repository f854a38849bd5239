"""Every selection of the table, with candidates and trained batches for it to see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from further_networks import maker
from torch import Tensor, nn

from pipeline import Batch, Mixture
from samplers import Scores
from trainer.methods import METHODS, Losses
from trainer.models import ResNet8
from trainer.parallel import World
from trainer.selection import SELECTIONS, Candidates, Selection, SelectionConfig, Setting, Terms, Weighting

SAMPLES, CLASSES, BATCH, FEATURES = 500, 10, 12, 6
CPU = torch.device("cpu")


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in SELECTIONS:
        yield name, {}
    yield "foms", {"beta": 3.0, "ratio": 5.0, "score": "gradient_norm", "forgetting": 0.7}
    yield "selective_backprop", {"beta": 1.0, "history": 20}
    yield "ordered_sgd", {"thresholds": (0.05, 0.2)}
    yield "impon", {"inputs": "penultimate", "lr": 0.01}
    yield "impon", {"lr": 0.01, "grid": 3}
    yield "gradient_norm", {"threshold": 0.0, "check_every": 3}


def make(name: str, options: dict[str, Any], folder: Path) -> SelectionConfig:
    if name == "rho_loss":
        losses = np.random.default_rng(5).random(SAMPLES).astype(np.float32)
        Scores(losses, "irreducible_loss", {"trained": 3000, "data_sha256": "5e"}).save(folder / "losses.npz")
        options = {"irreducible": folder / "losses.npz", **options}
    return SELECTIONS[name](**options).bind(Terms(0.3, 20, BATCH))


def setting(device: torch.device = CPU) -> Setting:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, CLASSES))
    return Setting(
        BATCH,
        SAMPLES,
        device,
        World(),
        model,
        budget=0.1,
        network=ResNet8(width=4),
        further=maker(CLASSES, device),
    )


def candidates(part: SelectionConfig, n: int, step: int = 0) -> Candidates:
    """Show n candidates as the driver does: with outputs, losses and features where they are asked for."""
    generator = torch.Generator().manual_seed(1000 * step + n)
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    outputs = 2 * torch.randn(n, CLASSES, generator=generator)
    return Candidates(
        ids=np.random.default_rng(step).integers(0, SAMPLES, n),
        images=torch.randn(n, 3, 8, 8, generator=generator),
        labels=labels,
        uniforms=torch.rand(n, 2, generator=generator),
        outputs=outputs if part.scores else None,
        losses=METHODS["supervised"]().build(torch.nn.Identity()).losses(outputs, labels[:, None])
        if part.scores
        else None,
        features=torch.randn(n, FEATURES, generator=generator) if part.features else None,
    )


def trained(step: int, n: int, k: int = 1) -> tuple[Losses, Batch]:
    """Return losses of a trained batch, and the batch, whose images are mixed k at a time."""
    generator = torch.Generator().manual_seed(7000 + 10 * step + n)
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    partners = np.stack([np.roll(np.arange(n), i) for i in range(k)], axis=1)
    mixture = Mixture.of(partners, np.full((n, k), 1 / k, np.float32)) if k > 1 else None
    batch = Batch(np.arange(n), (torch.zeros(n, 3, 8, 8),), {"label": labels}, mixture)
    outputs = torch.randn(n, CLASSES, generator=generator)
    method = METHODS["supervised"]().build(torch.nn.Identity())
    return method.losses(outputs, batch.constituents(labels)), batch


def pool(part: SelectionConfig) -> int:
    return round(part.ratio * BATCH)


def go(part: SelectionConfig, selection: Selection, steps: range) -> list[Tensor]:
    """Take steps, each second one unselected, with a round of five steps; give what was chosen."""
    told: list[Tensor] = []
    for step in steps:
        shown = candidates(part, pool(part), step)
        choice = selection.choose(shown) if step % 2 == 0 or step < 4 else None
        if choice is not None:
            told.append(choice.indices)
            if choice.weights is not None:
                told.append(choice.weights)
        losses, batch = trained(step, BATCH if choice is None else len(choice.indices), 2)
        if isinstance(selection, Weighting):
            told.append(selection.weigh(losses, batch))
        selection.observe(losses, batch, choice)
        told.append(torch.tensor(selection.on(step, 0.6)))
        if step % 5 == 4:
            selection.end_round()
    return told
