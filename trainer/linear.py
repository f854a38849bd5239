"""Linear evaluation: a run that trains a linear classifier on a run's frozen features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.formats import open_dataset
from pipeline.resolution import Constant
from samplers.scan import Scan
from trainer.config import Run
from trainer.data import paths
from trainer.errors import RunError
from trainer.evaluators.classification import Classification
from trainer.inference.trained import describe, read_recipe
from trainer.methods import Supervised
from trainer.optimizers.lars import LARS
from trainer.run_folder import RunFolder
from trainer.schedules import Cosine
from trainer.selection.all_samples import AllSamples

FOLDER = "linear"
"""Run folder of a linear evaluation, in that of the run whose features it is of."""

_PER_256 = 0.1
"""Learning rate for 256 images per step."""
_MOST = 2048


@dataclass(frozen=True, slots=True)
class LinearOptions:
    """Options of a linear evaluation; the defaults are those of Chen and He (2021) for ImageNet."""

    epochs: float = 90
    """Epochs that the linear classifier is trained for."""

    batch_size: int | None = None
    """Images per step; None means 2,048, or an eighth of the training set where that is less."""

    lr: float | None = None
    """Learning rate of LARS; None means .1 per 256 images of a step."""


def linear_run(folder: Path, options: LinearOptions, *, best: bool = False) -> Run:
    """Return the run that evaluates a run's features linearly, on the same data, in ``folder / "linear"``.

    A new linear layer is trained on the frozen network, whose batch normalization keeps its statistics, by
    LARS with momentum .9 and cosine decay, without weight decay, on randomly resized crops; it is measured on
    the test set. The layer begins as its model's own does, where Chen and He draw it from N(0, .01).

    Parameters
    ----------
    best
        Take the features of the best evaluation, not the last one.

    Raises
    ------
    RunError, DataError
        When the folder holds no run or no such checkpoint, or its data isn't there or has no classes.
    """
    run = read_recipe(folder)
    opened = RunFolder(folder, run)
    weights = opened.best if best else opened.checkpoint
    if not weights.is_file():
        raise RunError(
            f"linear evaluation needs the features of a checkpoint; there is no {weights}"
            + (": leave --best out" if best else f": train the run, by `trainer run {folder / 'run.toml'}`")
        )
    train = open_dataset(paths(run)[0])
    if train.card.target != "class":
        raise RunError(
            f"linear evaluation is of one class per image; {train.path} has targets of kind "
            f"{train.card.target}: name a run that was trained on images with classes"
        )
    batch_size = options.batch_size or max(2, min(_MOST, len(train) // 8))
    seen = describe(opened, run).preprocessing
    pixels = getattr(run.resolution, "pixels", 1.0)
    return replace(
        Run(),
        recipe=FOLDER,
        name=FOLDER,
        runs_dir=folder,
        data=run.data,
        test_data=run.test_data,
        data_dir=run.data_dir,
        model=run.model,
        engine=run.engine,
        device=run.device,
        precision=run.precision,
        channels_last=run.channels_last,
        threads=run.threads,
        seed=run.seed,
        # As the features were learned and measured.
        mean=_three(seen.mean),
        std=_three(seen.std),
        evaluation_resolution=run.evaluation_resolution,
        evaluation_crop=run.evaluation_crop,
        init_from=weights,
        freeze=("backbone",),
        budget=1.0,
        epochs=options.epochs,
        batch_size=batch_size,
        sampler=Scan(),
        selection=AllSamples(),
        augment=(RandomResizedCrop(),),
        resolution=Constant(pixels=pixels),
        schedule=Cosine(),
        optimizer=LARS(lr=options.lr or _PER_256 * batch_size / 256, weight_decay=0.0),
        method=Supervised(),
        evaluator=(Classification(),),
    )


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third
