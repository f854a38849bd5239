"""``trainer score``: a file of per-sample scores, for samplers that keep a subset and for rho_loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pipeline.formats import Converted, open_dataset
from samplers import Scores
from samplers.coreset import as_scores, facility_location, k_center
from tools.outputs import check_output
from tools.progress import TerminalWatcher
from tools.recipe_line import read_run
from trainer import config, recipe
from trainer.build import build
from trainer.config import SLOTS
from trainer.data import open_data, paths
from trainer.device import choose_device
from trainer.errors import RunError
from trainer.importance import ForgettingWatcher, check_holdout, el2n, features, irreducible_losses
from trainer.loop import train
from trainer.parallel import World
from trainer.record import RunFolder, folder_name
from trainer.session import Session

DESCRIPTION = """Score every training sample by networks trained for it, or by those of finished runs.

  trainer score cifar10 --out el2n.npz
  trainer run cifar10 --sampler subset --sampler.scores el2n.npz --sampler.keep 0.7

Networks are trained by the recipe on the whole set, at a constant learning rate, for --after epochs, each
from a seed of its own; their run folders stay, so that a stopped scoring goes on with the same command.

Irreducible losses are of a set that the network was not trained on. It trains on --data, a holdout set, with
the recipe's own schedule, and what that and the scoring cost is charged to the run that uses the file:

  trainer convert cifar10 d/train.beton --validation 0.1
  trainer convert cifar10 d/test.beton --split test
  trainer score cifar10 --metric irreducible_loss --of d/train.beton --data d/train-validation.beton
  trainer run cifar10 --data d/train.beton --selection rho_loss --selection.irreducible scores.npz
"""


@dataclass(frozen=True)
class ScoreOptions:
    """What to score by."""

    out: Path = Path("scores.npz")
    """File to write."""

    metric: Literal["el2n", "forgetting", "k_center", "facility_location", "irreducible_loss"] = "el2n"
    """el2n: mean error norm over networks. forgetting: how often a sample was unlearned, mean over networks.
    k_center, facility_location: core-sets on the features of the first network. irreducible_loss: loss under
    a network trained on a holdout set, for --selection rho_loss."""

    of: Path | None = None
    """Set whose irreducible losses to write, while --data names the holdout set; None takes the training set
    that the recipe itself names."""

    networks: int = 10
    """Networks to train for el2n and forgetting; the others take one."""

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
        if self.of is not None and self.metric != "irreducible_loss":
            raise RunError(
                f"--of goes with irreducible_loss; {self.metric} is of the training set: leave it out"
            )


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
        run, options = read_run(words, prog, DESCRIPTION, ScoreOptions)
        if options.metric == "irreducible_loss" and options.of is None:
            named = dataclasses.replace(run, data=recipe.load(words[0]).data)
            options = dataclasses.replace(options, of=paths(named)[0])
        return cls(run, options)

    def execute(self, console: Console) -> int:
        """Train or load the networks, score, and write the file."""
        # Every file of scores names its method; arrays of images don't.
        check_output("--out", self.options.out, "scores.npz", mark=b"method.npy")
        columns: list[NDArray[np.float32]] = []
        seen: NDArray[np.float32] | None = None
        cost = {"trained": 0, "scored": 0, "compute": 0.0}
        digests: set[str | None] = set()
        coreset = self.options.metric in ("k_center", "facility_location")
        other = None if self.options.of is None else open_dataset(self.options.of)
        source: config.Run | None = None
        for number in range(self._networks(coreset)):
            session, column = self._score(number, coreset, other, console)
            source = source or session.run
            if coreset:
                seen = column
            else:
                columns.append(column)
            cost["trained"] += session.ledger.trained
            cost["scored"] += session.ledger.scored
            cost["compute"] += session.budget.compute(session.ledger)
            digests.add(_trained_on(session))
            if len(digests) > 1:
                raise RunError(
                    f"networks that score together must be of one training set; {self.options.runs[number]} "
                    "was trained on another: leave it out"
                )
        scores: NDArray[np.float32] = (
            np.stack(columns).mean(axis=0).astype(np.float32) if seen is None else self._choose(seen)
        )
        assert source is not None
        about: dict[str, Any] = {**cost, "networks": max(1, len(columns)), "data_sha256": digests.pop()}
        if other is not None:
            about |= {"data_sha256": other.card.digest, "holdout_sha256": about["data_sha256"]}
        epochs = source.epochs * source.budget
        about |= {"recipe": source.recipe, "after_epochs": epochs, "seed": source.seed}
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
        return self.options.networks if self.options.metric in ("el2n", "forgetting") else 1

    def _score(
        self, number: int, coreset: bool, other: Converted | None, console: Console
    ) -> tuple[Session, NDArray[np.float32]]:
        """Get one network, by training or from a finished run, and what it says."""
        if self.options.metric == "forgetting":
            return self._forgetting(number, console)
        if self.options.runs:
            session = _load(self.options.runs[number])
        else:
            run = self._scoring_run(number)
            folder = RunFolder(run.runs_dir / folder_name(run), run)
            with TerminalWatcher(console) as watcher:
                if other is not None:
                    check_holdout(open_data(run, World(), watcher.converting).train, other)
                session = train(run, folder, World(), watcher)
        try:
            if other is not None:
                check_holdout(session.data.train, other)
                return session, irreducible_losses(session, other)
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
        """The recipe's run on the whole set without selection, from a seed of its own.

        At a constant rate, unless the losses are to be those that training leaves in the end.
        """
        seed = self.run.seed + number
        ends = self.options.metric == "irreducible_loss"
        name = f"score-{self.run.recipe}-{self.options.metric}-{self.options.after:g}-s{seed}"
        return dataclasses.replace(
            self.run,
            epochs=self.options.after,
            budget=1.0,
            round_length=1.0,
            evaluate_every=1,
            sampler=SLOTS["sampler"]["scan"](),
            schedule=self.run.schedule if ends else SLOTS["schedule"]["constant"](),
            selection=SLOTS["selection"]["all"](),
            counts="trained",
            seed=seed,
            name=name if self.run.name is None else f"{self.run.name}-s{seed}",
        )

    def _choose(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        choose = k_center if self.options.metric == "k_center" else facility_location
        count = max(1, round(self.options.keep * len(seen)))
        return as_scores(choose(seen, count, self.run.seed), len(seen))


def _trained_on(session: Session) -> str | None:
    """Digest of the set that a session's network was trained on.

    Raises
    ------
    RunError
        When another set stands in its place now.
    """
    train, folder = session.data.train, session.folder
    digest: str | None = folder.read("environment.json")["data_sha256"]["train"]
    if digest != train.card.digest:
        raise RunError(
            f"a network must be trained on the set that its run names; {train.path} has changed since "
            f"{folder.path} was trained: move that folder away, or give another --name"
        )
    return digest


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
