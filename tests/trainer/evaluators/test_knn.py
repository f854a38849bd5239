"""kNN accuracy against brute force, whatever the blocks; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from trainer import RunFolder, open_session
from trainer.errors import RunError
from trainer.evaluators import knn
from trainer.recipe import from_table

K, T, CLASSES = 7, 0.1, 5


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    queries, bank = (F.normalize(torch.randn(n, 6, dtype=torch.float64), dim=1) for n in (23, 61))
    return queries, bank, torch.randint(0, CLASSES, (61,))


def brute(queries: torch.Tensor, bank: torch.Tensor, labels: torch.Tensor) -> list[int]:
    guesses = []
    for query in queries:
        near = sorted(
            ((float(query @ one), int(y)) for one, y in zip(bank, labels, strict=True)), reverse=True
        )
        votes = [0.0] * CLASSES
        for similarity, label in near[:K]:
            votes[label] += 2.718281828459045 ** (similarity / T)
        guesses.append(max(range(CLASSES), key=votes.__getitem__))
    return guesses


@pytest.mark.parametrize("cells", [1, 50, 1 << 20])
def test_votes_are_those_of_brute_force(
    drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor], cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, bank, labels = drawn
    monkeypatch.setattr(knn, "_CELLS", cells)
    expected = brute(queries, bank, labels)
    neighbors = knn.Neighbors(queries, K)
    for start in range(0, 61, 9):
        neighbors.add(bank[start : start + 9], labels[start : start + 9])
    assert neighbors.vote(CLASSES, T).tolist() == expected
    # Two ranks with a part of the bank each.
    ranks = [knn.Neighbors(queries, K) for _ in range(2)]
    for rank, part in zip(ranks, (slice(0, 40), slice(40, None)), strict=True):
        rank.add(bank[part], labels[part])
    ranks[0].merge(ranks[1].similarities, ranks[1].labels)
    assert ranks[0].vote(CLASSES, T).tolist() == expected


def run_of(data: Path, **entries: Any) -> Any:
    table = {
        "data": str(data),
        "test_data": str(data.with_name("test.beton")),
        "model": {"name": "resnet8", "width": 4},
        "method": "simsiam",
        "batch_size": 16,
        "epochs": 1,
        "device": "cpu",
        **entries,
    }
    return from_table(table, where="test")


def test_k_is_at_most_the_training_set(tiny: Callable[..., Path], tmp_path: Path) -> None:
    run = run_of(tiny(), evaluator="knn")
    line = r"evaluator.knn.k must be at most the 128 images of the training set; got 200: lower it"
    with pytest.raises(RunError, match=line):
        open_session(run, RunFolder(tmp_path / "run", run))


def test_a_method_without_outputs_is_measured_by_its_features(tiny: Callable[..., Path]) -> None:
    line = (
        "evaluator classification measures outputs for targets, and method simsiam trains an encoder without"
    )
    with pytest.raises(RunError, match=f"{line}: take --evaluator knn"):
        run_of(tiny())


@pytest.mark.parametrize(("option", "value"), [("k", 0), ("temperature", 0.0)])
def test_options_are_checked(option: str, value: float) -> None:
    with pytest.raises(RunError, match=f"evaluator.knn.{option} must be"):
        knn.Knn(**{option: value})  # type: ignore[arg-type]
