"""Training under a compute budget: the loop, models, methods, optimizers, schedules, selections, the account.

`train` carries a whole run out; `open_session` returns the `Session` that a loop of your own iterates over,
`load` a trained network ready for new images.
"""

from __future__ import annotations

from trainer.account import Account
from trainer.begin import open_session
from trainer.config import Run
from trainer.errors import BudgetrainError, DivergedError, InterruptedRunError, PeerError, RunError
from trainer.inference.loading import load
from trainer.inference.prediction import Prediction
from trainer.inference.predictor import Predictor
from trainer.lines import Lines
from trainer.loop import train
from trainer.methods import METHODS, Losses, Method, MethodConfig
from trainer.models import MODELS
from trainer.optimizers import OPTIMIZERS
from trainer.parallel import World
from trainer.parts import Round, StepResult
from trainer.plain_loop import BudgetedLoader
from trainer.run_folder import RunFolder
from trainer.schedules import SCHEDULES
from trainer.selection import SELECTIONS
from trainer.session import Session
from trainer.slots import SLOTS
from trainer.watch import Silent, Watcher

__all__ = [
    "METHODS",
    "MODELS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SELECTIONS",
    "SLOTS",
    "Account",
    "BudgetedLoader",
    "BudgetrainError",
    "DivergedError",
    "InterruptedRunError",
    "Lines",
    "Losses",
    "Method",
    "MethodConfig",
    "PeerError",
    "Prediction",
    "Predictor",
    "Round",
    "Run",
    "RunError",
    "RunFolder",
    "Session",
    "Silent",
    "StepResult",
    "Watcher",
    "World",
    "load",
    "open_session",
    "train",
]
