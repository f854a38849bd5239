"""Trained networks from wherever they are: run folders, and what ``trainer export`` wrote."""

from __future__ import annotations

from pathlib import Path

from trainer.errors import RunError
from trainer.inference.exported import MODEL_FILE, open_exported
from trainer.inference.predictor import Predictor
from trainer.inference.trained import open_trained


def load(path: Path | str, device: str = "auto", *, best: bool = False) -> Predictor:
    """Return a trained network with its classes, labels or values, and its preprocessing.

    >>> model = trainer.load("runs/photos")                                    # doctest: +SKIP
    >>> print(model.predict("cat.jpg")[0])                                     # doctest: +SKIP
    cat.jpg: cat 98.1%, dog 1.2%, fox 0.3%

    Parameters
    ----------
    path
        A run folder, a ``model.safetensors`` that ``trainer export`` wrote, or the folder of one.
    device
        auto, cpu, cuda or cuda:N.
    best
        Take a run's checkpoint of the best evaluation, which it has by --keep-best, not the last one.

    Raises
    ------
    RunError
        When it is neither, learned no targets, or has no such checkpoint.
    """
    path = Path(path)
    if path.is_dir() and (path / MODEL_FILE).is_file() and not (path / "run.toml").exists():
        path /= MODEL_FILE
    if path.suffix == ".safetensors":
        if best:
            raise RunError(
                f"the best checkpoint is one of a run folder; {path} holds one network: leave it out"
            )
        return open_exported(path, device)
    if not path.is_dir():
        raise RunError(
            f"a network must be a run folder or a .safetensors of `trainer export`; got {path}, which "
            f"{'is another file' if path.exists() else 'does not exist'}"
        )
    return open_trained(path, device, best=best).predictor
