"""Weights that a run begins from, fitted to its network by name and shape, and a report of what fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from trainer.config import Run
from trainer.errors import RunError
from trainer.models import Encoder, Published
from trainer.models.channels import gray_weights
from trainer.pretrained.files import State, read

_LEAST = 0.7
"""Fraction of the network's tensors that a file of the same network holds at least: a ResNet-101 has half of
its tensors in common with a ResNet-50, by names that mean other blocks."""

_NAMED = 3
"""Names in a note, where there are more."""

_COUNTER = "num_batches_tracked"
"""A statistic that older files lack, and that nothing reads."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The tensors of a file that were loaded into a network, and those that were not.

    Attributes
    ----------
    origin
        The file.
    loaded, total
        Tensors of the network that were loaded, and that it has.
    missing, unexpected
        Names of tensors that only the network has, and that only the file has.
    misshaped
        Names of tensors of another shape, each with the file's and the network's.
    classes
        Outputs of the file's classifier, where it was left out for having another number of them.
    """

    origin: str
    loaded: int
    total: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    classes: int | None = None

    def notes(self) -> tuple[str, ...]:
        """Return the report in lines, the first of how much was loaded."""
        lines = [f"initial weights: {self.loaded:,} of {self.total:,} tensors from {self.origin}"]
        if self.classes is not None:
            lines.append(
                f"initial weights: the classifier of {self.classes:,} outputs is left out: this run's has "
                "another number, and begins at random"
            )
        if self.missing:
            lines.append(
                f"initial weights: {_listed(self.missing)} missing there, left as initialized at random"
            )
        if self.unexpected:
            lines.append(f"initial weights: {_listed(self.unexpected)} not in this network, left out")
        if self.misshaped:
            shapes = [
                f"{name} ({_by(theirs)} there, {_by(ours)} here)" for name, theirs, ours in self.misshaped
            ]
            lines.append(
                f"initial weights: {_listed(shapes)} of another shape, left as initialized at random"
            )
        return tuple(lines)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def source(run: Run) -> Path | None:
    """Return the file or run folder that a run's initial weights are read from; None for random ones.

    Raises
    ------
    RunError
        When the cache of a published network's library lacks it, and the run doesn't ask for a download.
    """
    if run.init_from is not None:
        return run.init_from
    if isinstance(run.model, Published) and run.model.pretrained:
        return run.model.weights_file()
    return None


def initialize(run: Run, network: nn.Module) -> LoadReport | None:
    """Load a run's initial weights into its freshly built network; None where they are to be random.

    Raises
    ------
    RunError
        When they can't be read, or are those of another network.
    """
    path = source(run)
    if path is None:
        return None
    convert = run.model.convert if isinstance(run.model, Published) else None
    return load(path, network, convert)


def load(
    path: Path, network: nn.Module, convert: Callable[[State, nn.Module], State] | None = None
) -> LoadReport:
    """Load weights into ``network`` by name, where shapes agree.

    Parameters
    ----------
    path
        A run folder, a checkpoint of a run, or a file of tensors by name: .safetensors, or torch's .pt.
    convert
        Turns published weights, under their names, to those of ``network``.

    Raises
    ------
    RunError
        When the file can't be read, or too few of the network's tensors are in it.
    """
    state = _unwrapped(read(path), network)
    if convert is not None:
        state = convert(state, network)
    ours = network.state_dict()
    head = _classifier_names(network)
    state = {name: _fitted(name, value, ours, path) for name, value in state.items()}
    fitting = {
        name: value for name, value in state.items() if name in ours and value.shape == ours[name].shape
    }
    wanted = [name for name in ours if name not in head and not name.endswith(_COUNTER)]
    found = sum(name in fitting for name in wanted)
    if found < _LEAST * len(wanted):
        raise RunError(
            f"initial weights must be those of this network; {path} has {found:,} of the {len(wanted):,} "
            f"tensors of {type(network).__name__} by name and shape, and others such as "
            f"{_example(state, fitting)}: give the --model that they are of, or another --init-from"
        )
    other_head = [name for name in head if name in state and name not in fitting]
    if other_head:
        # A classifier of other classes makes no sense in halves.
        fitting = {name: value for name, value in fitting.items() if name not in head}
    network.load_state_dict(fitting, strict=False)
    misshaped = [name for name in state if name in ours and name not in fitting and name not in head]
    return LoadReport(
        origin=str(path),
        loaded=len(fitting),
        total=len(ours),
        missing=tuple(n for n in ours if n not in state and not n.endswith(_COUNTER)),
        unexpected=tuple(name for name in state if name not in ours and not _is_head(name, network)),
        misshaped=tuple((name, tuple(state[name].shape), tuple(ours[name].shape)) for name in misshaped),
        classes=len(state[other_head[0]]) if other_head else None,
    )


def _fitted(name: str, value: Tensor, ours: State, path: Path) -> Tensor:
    """Return a tensor for images of as many channels as the network's.

    Raises
    ------
    RunError
        When it is of images of one channel, and the network's have three.
    """
    if name not in ours or value.shape == ours[name].shape:
        return value
    gray = gray_weights(value, ours[name].shape)
    if gray is not None:
        return gray
    if gray_weights(ours[name], value.shape) is not None:
        raise RunError(
            f"initial weights must be those of images of as many channels; {path} is of images of one, and "
            "this run's have three: convert them with --mode L, or give another --init-from"
        )
    return value


def _unwrapped(state: State, network: nn.Module) -> State:
    """Return the weights under the prefix below which most of the network's names stand, without it.

    Wrappers and methods put such a prefix before them ("module.", "encoder."); what stands beside it, as a
    teacher or a projector, is no part of the network.
    """
    ours = network.state_dict().keys()
    below: Counter[str] = Counter()
    for name in state:
        places = [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]
        below.update(name[:place] for place in places if name[place:] in ours)
    if not below:
        return state
    prefix = min(below, key=lambda one: (-below[one], len(one)))
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _classifier_names(network: nn.Module) -> set[str]:
    """Return the names of the classifier's parameters; none where it is unknown."""
    if not isinstance(network, Encoder):
        return set()
    own = {id(parameter) for parameter in network.get_classifier().parameters()}
    return {name for name, parameter in network.named_parameters() if id(parameter) in own}


def _is_head(name: str, network: nn.Module) -> bool:
    """Whether the file has a classifier where the network has the identity."""
    if not isinstance(network, Encoder):
        return False
    last = network.get_classifier()
    place = next((place for place, module in network.named_modules() if module is last), None)
    return isinstance(last, nn.Identity) and place is not None and name.startswith(f"{place}.")


def _example(state: State, fitting: State) -> str:
    for name, value in state.items():
        if name not in fitting:
            return f"{name} ({_by(value.shape)})"
    return "none"
