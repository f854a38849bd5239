"""Registry of selections, which choose the loaded samples to train on: one file and one table line each."""

from trainer.selection.all_samples import AllSamples
from trainer.selection.divbs import Divbs
from trainer.selection.foms import Foms
from trainer.selection.gradient_norm import GradientNorm
from trainer.selection.greedy import Greedy
from trainer.selection.hard_augment import HardAugment
from trainer.selection.impon import Impon, ImponLow
from trainer.selection.ordered_sgd import OrderedSgd
from trainer.selection.protocol import (
    Candidates,
    Choice,
    Owner,
    OwnNetwork,
    Selection,
    SelectionConfig,
    Setting,
    Terms,
    Weighting,
)
from trainer.selection.proxy import Proxy
from trainer.selection.rho_loss import RhoLoss
from trainer.selection.selective_backprop import SelectiveBackprop
from trainer.selection.selective_backprop_exact import SelectiveBackpropExact

SELECTIONS: dict[str, type[SelectionConfig]] = {
    "all": AllSamples,
    "selective_backprop": SelectiveBackprop,
    "selective_backprop_exact": SelectiveBackpropExact,
    "ordered_sgd": OrderedSgd,
    "foms": Foms,
    "greedy": Greedy,
    "impon": Impon,
    "impon_low": ImponLow,
    "gradient_norm": GradientNorm,
    "rho_loss": RhoLoss,
    "divbs": Divbs,
    "hard_augment": HardAugment,
    "proxy": Proxy,
}

__all__ = [
    "SELECTIONS",
    "AllSamples",
    "Candidates",
    "Choice",
    "OwnNetwork",
    "Owner",
    "Selection",
    "SelectionConfig",
    "Setting",
    "Terms",
    "Weighting",
]
