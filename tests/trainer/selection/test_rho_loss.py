"""rho_loss: the top of what could still be learned, and what its holdout model is charged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import Scores
from trainer.errors import RunError
from trainer.selection import Candidates, Setting
from trainer.selection.rho_loss import RhoLoss


def test_rho_loss_takes_the_highest_reducible_losses(
    setting: Callable[..., Setting], pool: Callable[..., Candidates], tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    irreducible = rng.exponential(size=300).astype(np.float32)
    Scores(irreducible, "irreducible_loss", {"trained": 4321}).save(tmp_path / "file.npz")
    selection = RhoLoss(irreducible=tmp_path / "file.npz").build(setting(5, samples=300))
    for _ in range(4):
        ids = rng.integers(0, 300, 50)
        losses = rng.exponential(size=50)
        reducible = [loss - irreducible[i] for i, loss in zip(ids, losses, strict=True)]
        expected = sorted(range(50), key=lambda i: -reducible[i])[:5]
        assert selection.choose(pool(losses, ids=ids)).indices.tolist() == expected


@pytest.mark.parametrize(
    ("metadata", "option", "charged"),
    [
        ({"trained": 10}, None, 10),
        ({"compute": 20.0, "trained": 10}, None, 20),
        ({"compute": 20.01, "trained": 10}, None, 21),
        ({"compute": 20.0}, 30, 30),
        ({}, 0, 0),
    ],
)
def test_the_holdout_model_is_charged(
    setting: Callable[..., Setting], tmp_path: Path, metadata: Any, option: int | None, charged: int
) -> None:
    Scores(np.zeros(9, np.float32), "irreducible_loss", metadata).save(tmp_path / "file.npz")
    part = RhoLoss(irreducible=tmp_path / "file.npz", holdout_samples=option)
    assert part.build(setting(3, samples=9)).charged == charged


def test_rho_loss_without_what_it_needs_is_refused_in_one_line(
    setting: Callable[..., Setting], tmp_path: Path
) -> None:
    Scores(np.zeros(9, np.float32), "irreducible_loss").save(tmp_path / "file.npz")
    columns = {"schema": 1, "scores": np.zeros(9, np.float32), "method": "irreducible_loss"}
    np.savez(tmp_path / "endless.npz", **columns, metadata='{"trained": Infinity}')  # type: ignore[arg-type]
    Scores(np.zeros(9, np.float32), "el2n", {"trained": 10}).save(tmp_path / "el2n.npz")
    for part, samples, message in (
        (RhoLoss(), 9, "must be the path of a scores file"),
        (RhoLoss(irreducible=tmp_path / "none.npz"), 9, "none.npz"),
        (RhoLoss(irreducible=tmp_path / "file.npz"), 8, "one score for each of the set's 8 samples"),
        (RhoLoss(irreducible=tmp_path / "file.npz"), 9, "holdout_samples must be given"),
        (RhoLoss(irreducible=tmp_path / "endless.npz"), 9, "holdout_samples must be given"),
        (RhoLoss(irreducible=tmp_path / "el2n.npz"), 9, "must hold irreducible losses; .* holds el2n"),
    ):
        with pytest.raises(RunError, match=message) as error:
            part.build(setting(3, samples=samples))
        assert "\n" not in str(error.value)


def test_rho_loss_refuses_the_losses_of_another_set_of_the_same_size(
    setting: Callable[..., Setting], tmp_path: Path
) -> None:
    metadata = {"trained": 10, "data_sha256": "a1"}
    Scores(np.zeros(9, np.float32), "irreducible_loss", metadata).save(tmp_path / "file.npz")
    part = RhoLoss(irreducible=tmp_path / "file.npz")
    part.build(setting(3, samples=9, digest="a1"))
    part.build(setting(3, samples=9))
    with pytest.raises(RunError, match="must be of this training set"):
        part.build(setting(3, samples=9, digest="b2"))
