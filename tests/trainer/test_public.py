"""The public face of `trainer`, and the root of the project's exceptions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import trainer
from pipeline import CorruptSampleError, DataError, MissingExtraError
from pipeline.errors import ChangedDataError, UnwritableError
from samplers import Plan, SamplingError
from trainer import BudgetrainError, DivergedError, InterruptedRunError, PeerError, RunError


def test_the_public_face() -> None:
    assert sorted(trainer.__all__) == [
        "Account",
        "BudgetedLoader",
        "BudgetrainError",
        "DivergedError",
        "InterruptedRunError",
        "Lines",
        "Losses",
        "METHODS",
        "MODELS",
        "Method",
        "MethodConfig",
        "OPTIMIZERS",
        "PeerError",
        "Prediction",
        "Predictor",
        "Round",
        "Run",
        "RunError",
        "RunFolder",
        "SCHEDULES",
        "SELECTIONS",
        "SLOTS",
        "Session",
        "Silent",
        "StepResult",
        "Watcher",
        "World",
        "load",
        "open_session",
        "train",
    ]
    assert all(hasattr(trainer, name) for name in trainer.__all__)


def test_no_name_of_the_face_hides_a_module() -> None:
    """Else ``import trainer.NAME as m`` would return the function."""
    modules = {path.stem for path in Path(trainer.__file__).parent.glob("*.py")}
    assert not modules & set(trainer.__all__)


@pytest.mark.parametrize(
    "error",
    [
        *(DataError, CorruptSampleError, MissingExtraError, ChangedDataError, UnwritableError),
        *(SamplingError, RunError, DivergedError, InterruptedRunError, PeerError),
    ],
)
def test_every_error_of_the_project_has_one_root(error: type[ValueError]) -> None:
    assert issubclass(error, BudgetrainError)


def test_one_clause_catches_the_mistakes_of_all_packages() -> None:
    with pytest.raises(BudgetrainError, match="samples must be at least 1; got 0"):
        Plan(0)
    with pytest.raises(BudgetrainError, match="budget must be above 0"):
        trainer.Run(data="x", budget=0)
    try:
        raise ValueError("another library's")
    except BudgetrainError:
        pytest.fail("an error that isn't the project's was caught")
    except ValueError:
        pass


def test_samplers_alone_bring_no_torch() -> None:
    code = "import sys, samplers; print('torch' in sys.modules, 'trainer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
