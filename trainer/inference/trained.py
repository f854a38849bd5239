"""The networks of run folders, as predictors: their weights, targets and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline import DataError
from pipeline.formats.card import Card
from pipeline.resolution import Stage, in_pixels
from pipeline.targets import TargetSpec
from trainer import checkpoint, recipe
from trainer.build import build
from trainer.config import Run
from trainer.data import open_data
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.hardware.kernels import use_tf32
from trainer.inference.predict import View
from trainer.inference.predictor import Predictor
from trainer.inference.preprocessing import Preprocessing
from trainer.inference.tasks import task_of
from trainer.models.channels import with_channels
from trainer.parallel import World
from trainer.parts import Parts
from trainer.run_folder import RunFolder
from trainer.settings.fitting import outputs
from trainer.weights import evaluated


@dataclass(frozen=True, slots=True)
class Description:
    """Input and output of a run's network, as its folder states them, so that the data need not be there.

    Attributes
    ----------
    targets
        Specification of the targets, with the names of the classes in the order of the outputs.
    preprocessing
        Of the run's evaluation.
    data
        Name and split of the training set, as in "cifar10 (train)".
    """

    targets: TargetSpec
    preprocessing: Preprocessing
    data: str

    @classmethod
    def of(cls, session: Parts) -> Description:
        """Return the description of a session."""
        card: Card = session.data.train.card
        pixels = in_pixels(session.run.evaluation_resolution, session.full)
        view = View(session.view.augmentation, Stage(pixels))
        preprocessing = Preprocessing.of(session.data.test.card, view, session.test_loader.shape)
        return cls(card.spec, preprocessing, f"{card.name} ({card.split})")

    def table(self) -> dict[str, Any]:
        """Return all attributes, for JSON."""
        return {
            "target": self.targets.kind,
            "classes": list(self.targets.classes),
            "columns": self.targets.columns,
            "preprocessing": self.preprocessing.table(),
            "data": self.data,
        }

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Description:
        """Read what `table` returned, after JSON.

        Raises
        ------
        RunError
            When it is of another version.
        """
        try:
            preprocessing = Preprocessing.from_table(table["preprocessing"])
            # Versions before had no columns, and no use for networks that predict values.
            targets = TargetSpec(table["target"], tuple(table["classes"]), table.get("columns"))
            return cls(targets, preprocessing, table["data"])
        except (DataError, KeyError, TypeError) as error:
            raise RunError(
                f"a network's description must be as `trainer run` wrote it; {type(error).__name__}: {error}"
            ) from None


@dataclass(frozen=True, slots=True)
class Trained:
    """A run folder's network.

    Attributes
    ----------
    run
        What it was trained by.
    description
        Of its input and output.
    steps
        Optimizer steps that it was trained for.
    notes
        What a person who uses it should know, a line each.
    """

    folder: Path
    run: Run
    description: Description
    predictor: Predictor
    steps: int
    notes: tuple[str, ...] = ()


def open_trained(folder: Path, device: str = "auto", *, best: bool = False) -> Trained:
    """Return the network that a run folder's checkpoint holds; the run's data need not be there.

    Where the run averages its weights, it is that of the averages, as the run evaluates it.

    Parameters
    ----------
    best
        Take the checkpoint of the best evaluation, which a run with --keep-best has, not the last one.

    Raises
    ------
    RunError
        When the folder holds no run or no such checkpoint, or the run learned no targets.
    """
    run = read_recipe(folder)
    opened = RunFolder(folder, run)
    there = choose_device(device, World())
    if there.type == "cuda":
        use_tf32(run)
    state, notes = checkpoint_of(opened, best=best)
    broken = opened.lines("evaluations.jsonl")[1]
    if broken:
        notes.append(f"{broken:,} lines of {folder / 'evaluations.jsonl'} can't be read, and are left out")
    description = describe(opened, run)
    if not outputs(run.method, description.targets):
        raise RunError(
            f"a network must have learned targets to predict them; {folder} was trained on images without: "
            f"`trainer evaluate {folder} --linear` measures its features, `trainer export {folder} --formats "
            "backbone` writes them, and --init-from trains on"
        )
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    # The caller's random numbers stay as they are: these weights are replaced at once.
    with torch.random.fork_rng(devices=[]):
        network = run.model.build(classes=description.targets.outputs)
        network = with_channels(network, len(description.preprocessing.mean)).to(there, dtype)
    network.load_state_dict(evaluated(state))
    steps = int(state["ledger"]["steps"])
    network = network.eval()
    if run.channels_last:
        network = network.to(memory_format=torch.channels_last)
    predictor = Predictor(
        network,
        task_of(description.targets),
        description.preprocessing,
        state["bf16"],
        about(opened, run, description, steps),
    )
    return Trained(folder, run, description, predictor, steps, tuple(notes))


def checkpoint_of(folder: RunFolder, *, best: bool) -> tuple[Mapping[str, Any], list[str]]:
    """Return the last checkpoint of a run, or that of its best evaluation, and notes about it.

    Raises
    ------
    RunError
        When there is none, or it isn't what the run ended with.
    """
    return _best(folder) if best else _last(folder)


def _last(folder: RunFolder) -> tuple[Mapping[str, Any], list[str]]:
    """Return the last checkpoint of a run, and notes about it."""
    found = checkpoint.newest(folder.checkpoint)
    if found is None:
        raise RunError(
            f"a run folder must hold a checkpoint to use its network; {folder.path} has none: train it, by "
            f"`trainer run {folder.path / 'run.toml'}`"
        )
    notes = [] if found.damaged is None else [f"{found.damaged}; the one before it is used, {found.path}"]
    ledger = found.state["ledger"]
    if not folder.finished:
        notes.append(f"{folder.path} is not finished: its network is that of step {ledger['steps']:,}")
    elif sum(ledger["trained_at"].values()) != folder.read("ledger.json").get("trained"):
        raise RunError(
            f"a finished run's network must be the one that it ended with; {folder.path} has lost its last "
            "checkpoint: move that folder away, and train it again"
        )
    return found.state, notes


def _best(folder: RunFolder) -> tuple[Mapping[str, Any], list[str]]:
    """Return the checkpoint of a run's best evaluation."""
    if not folder.best.is_file():
        raise RunError(
            f"the best checkpoint is kept by runs with --keep-best; {folder.path} has none: leave --best out"
        )
    return checkpoint.load(folder.best), []


def about(folder: RunFolder, run: Run, description: Description, steps: int) -> dict[str, Any]:
    """Where a network comes from, for those who are handed its weights."""
    there = folder.environment
    known = [line for line in folder.lines("evaluations.jsonl")[0] if line["step"] <= steps]
    return {
        "run": folder.path.resolve().name,
        "recipe": run.recipe,
        "data": description.data,
        "step": steps,
        "epochs": run.epochs,
        "budget": run.budget,
        "counts": run.counts,
        "metrics": known[-1].get("metrics", {}) if known else {},
        "versions": {name: there.get(name) for name in ("budgetrain", "torch", "python")},
        "trained": there.get("started"),
    }


def read_recipe(folder: Path) -> Run:
    """Return the run of a run folder.

    Raises
    ------
    RunError
        When it holds none.
    """
    if not (folder / "run.toml").is_file():
        raise RunError(
            f"a run folder must hold run.toml; {folder} doesn't: name one that `trainer run` made, such as "
            "those in runs/"
        )
    return recipe.load(str(folder / "run.toml"))


def describe(folder: RunFolder, run: Run) -> Description:
    """Return a run's description, from its folder; runs of versions that wrote none need their data.

    Raises
    ------
    RunError, DataError
        When neither is there.
    """
    table = folder.environment.get("network")
    if isinstance(table, Mapping):
        return Description.from_table(table)
    data = open_data(run, World(), lambda name, done, total: None)
    with build(run, folder, data, World(), choose_device(run.device, World())) as session:
        return Description.of(session)
