"""``trainer score``: a file of per-sample scores for samplers that keep a subset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from samplers import Scores
from samplers.coreset import as_scores, facility_location, k_center
from tools.progress import TerminalWatcher
from tools.recipe_line import read_run
from trainer import config, recipe
from trainer.config import SLOTS
from trainer.data import open_data
from trainer.device import choose_device
from trainer.errors import RunError
from trainer.importance import ForgettingWatcher, el2n, features
from trainer.loop import train
from trainer.parallel import World
from trainer.record import RunFolder, folder_name
from trainer.build import build
from trainer.session import Session

DESCRIPTION = """Score every training sample by networks trained for it, or by those of finished runs.

  trainer score cifar10 --out el2n.npz
  trainer run cifar10 --sampler subset --sampler.scores el2n.npz --sampler.keep 0.7

Networks are trained by the recipe on the whole set, at a constant learning rate, for --after epochs, each
from a seed of its own; their run folders stay, so that a stopped scoring goes on with the same command.
"""


@dataclass(frozen=True)
class ScoreOptions:
    """What to score by."""

    out: Path = Path("scores.npz")
    """File to write."""

    metric: Literal["el2n", "forgetting", "k_center", "facility_location"] = "el2n"
    """el2n: mean error norm over networks. forgetting: how often a sample was unlearned, mean over networks.
    k_center, facility_location: core-sets on the features of the first network."""

    networks: int = 10
    """Networks to train for el2n and forgetting; core-sets take one."""

    after: float = 20
    """Epochs that each network trains for."""

    keep: float = 0.5
    """Fraction of the set that a core-set ranks; the rest has score 0."""

    runs: tuple[Path, ...] = ()
    """Finished run folders whose networks score, instead of training any; not for forgetting."""

    def __post_init__(self) -> None:
        if self.networks < 1:
            raise RunError(f"networks must be at least 1; got {self.networks}")
        if not self.after > 0:
            raise RunError(f"after must be above 0 epochs; got {self.after:g}")
        if not 0 < self.keep <= 1:
            raise RunError(f"keep must be above 0 and at most 1; got {self.keep:g}")
        if self.runs and self.metric == "forgetting":
            raise RunError("forgetting is counted while a network trains; leave --runs out")


@dataclass(frozen=True)
class Score:
    """One scoring, ready to be made."""

    run: config.Run
    options: ScoreOptions

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Score:
        """Read a command line: the recipe, then options of the scoring and of the training.

        Raises
        ------
        UsageError, RunError
            As `read_run` does.
        """
        return cls(*read_run(words, prog, DESCRIPTION, ScoreOptions))

    def execute(self, console: Console) -> int:
        """Train or load the networks, score, and write the file."""
        columns: list[NDArray[np.float32]] = []
        seen: NDArray[np.float32] | None = None
        cost = {"trained": 0, "scored": 0}
        digests: set[str | None] = set()
        coreset = self.options.metric in ("k_center", "facility_location")
        for number in range(self._networks(coreset)):
            session, column = self._score(number, coreset, console)
            if coreset:
                seen = column
            else:
                columns.append(column)
            cost["trained"] += session.ledger.trained
            cost["scored"] += session.ledger.scored
            digests.add(session.data.train.card.digest)
            if len(digests) > 1:
                raise RunError(
                    f"networks that score together must be of one training set; {self.options.runs[number]} "
                    "was trained on another: leave it out"
                )
        scores: NDArray[np.float32] = (
            np.stack(columns).mean(axis=0).astype(np.float32) if seen is None else self._choose(seen)
        )
        about: dict[str, Any] = {**cost, "networks": max(1, len(columns)), "data_sha256": digests.pop()}
        about |= {"recipe": self.run.recipe, "after_epochs": self.options.after, "seed": self.run.seed}
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        Scores(scores, self.options.metric, about, seen).save(self.options.out)
        console.print(
            f"{self.options.metric} of {len(scores):,} samples: {self.options.out}\n"
            f"cost: {cost['trained']:,} samples trained, {cost['scored']:,} scored",
            soft_wrap=True,
            highlight=False,
        )
        return 0

    def _networks(self, coreset: bool) -> int:
        if self.options.runs:
            return 1 if coreset else len(self.options.runs)
        return 1 if coreset else self.options.networks

    def _score(self, number: int, coreset: bool, console: Console) -> tuple[Session, NDArray[np.float32]]:
        """Get one network, by training or from a finished run, and what it says."""
        if self.options.metric == "forgetting":
            return self._forgetting(number, console)
        if self.options.runs:
            session = _load(self.options.runs[number])
        else:
            run = self._scoring_run(number)
            folder = RunFolder(run.runs_dir / folder_name(run), run)
            with TerminalWatcher(console) as watcher:
                session = train(run, folder, World(), watcher)
        try:
            return session, features(session) if coreset else el2n(session)
        finally:
            session.close()

    def _forgetting(self, number: int, console: Console) -> tuple[Session, NDArray[np.float32]]:
        run = self._scoring_run(number)
        folder = RunFolder(run.runs_dir / folder_name(run), run)
        data = open_data(run, World(), lambda name, done, total: None)
        watcher = ForgettingWatcher(len(data.train))
        console.print(f"network {number + 1} of {self.options.networks}: {run.epochs:g} epochs")
        session = train(run, folder, World(), watcher)
        session.close()
        return session, watcher.forgetting.scores()

    def _scoring_run(self, number: int) -> config.Run:
        """The recipe's run on the whole set, at a constant rate, from a seed of its own."""
        seed = self.run.seed + number
        name = f"score-{self.run.recipe}-{self.options.metric}-{self.options.after:g}-s{seed}"
        return dataclasses.replace(
            self.run,
            epochs=self.options.after,
            budget=1.0,
            round_length=1.0,
            evaluate_every=1,
            sampler=SLOTS["sampler"]["scan"](),
            schedule=SLOTS["schedule"]["constant"](),
            seed=seed,
            name=name if self.run.name is None else f"{self.run.name}-s{seed}",
        )

    def _choose(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        choose = k_center if self.options.metric == "k_center" else facility_location
        count = max(1, round(self.options.keep * len(seen)))
        return as_scores(choose(seen, count, self.run.seed), len(seen))


def _load(folder: Path) -> Session:
    """A finished run's session, at its end.

    Raises
    ------
    RunError
        When the folder holds no finished run.
    """
    if not (folder / "run.toml").is_file():
        raise RunError(f"a run folder must hold run.toml; {folder} doesn't")
    run = recipe.load(str(folder / "run.toml"))
    opened = RunFolder(folder, run)
    if not opened.finished:
        raise RunError(f"a network that scores must be of a finished run; {folder} is not: finish it first")
    data = open_data(run, World(), lambda name, done, total: None)
    session = build(run, opened, data, World(), choose_device(run.device, World()))
    session.resume()
    return session
